"""What runs the workflows, and what people show it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from stemma.api.answers import answer
from stemma.api.dependencies import Caller, CredentialKeeper, Reader, group_of_scope
from stemma.api.error_responses import guarded
from stemma.api.schemas.engines import CredentialGiven, CredentialPlaceShown, EngineShown
from stemma.api.schemas.envelope import Envelope
from stemma.lifecycle.credentials import CredentialScope
from stemma.lifecycle.engines import check_takes_credentials, known_engine, states

router = APIRouter(prefix="/engines", tags=["engine"])

EngineName = Annotated[str, Path(description="The engine's name.", examples=["reana"])]


@router.get("", response_model=Envelope[list[EngineShown]], responses=guarded())
def list_engines(caller: Reader) -> Response:
    """The engines that are set up here, and which credentials you and your groups have for them."""
    installation = caller.installation
    known = installation.credentials.known(caller.principal)
    shown = [
        EngineShown.of(state, known.get(state.name, ()), is_for_all=installation.credentials.is_for_all(state.name))
        for state in states(installation.engines)
    ]
    return answer(shown, f"{len(shown)} engines")


@router.put("/{engine}/credential", response_model=Envelope[CredentialPlaceShown], responses=guarded(404))
def set_credential(caller: CredentialKeeper, engine: EngineName, given: CredentialGiven) -> Response:
    """Give what the engine is to be shown for your runs, or for those of a group, in place of the one before.

    It is sealed, and never given out again. For a group it is given by a member with the role `reprov_admin`.
    """
    group = _group(caller, given.scope, given.group)
    check_takes_credentials(known_engine(caller.installation, engine))
    caller.installation.credentials.put(caller.principal, engine, given.token, group=group)
    return answer(CredentialPlaceShown(engine=engine, scope=given.scope, group=group), "the credential is kept")


@router.delete("/{engine}/credential", response_model=Envelope[CredentialPlaceShown], responses=guarded(404))
def delete_credential(
    caller: CredentialKeeper,
    engine: EngineName,
    scope: Annotated[CredentialScope, Query(description="Your own, or that of a group.")] = CredentialScope.PERSON,
    group: Annotated[str | None, Query(max_length=255, description="Which group, where you are in several.")] = None,
) -> Response:
    """Take back your credential for the engine, or that of a group."""
    chosen = _group(caller, scope, group)
    caller.installation.credentials.remove(caller.principal, engine, group=chosen)
    return answer(CredentialPlaceShown(engine=engine, scope=scope, group=chosen), "the credential is gone")


def _group(caller: Caller, scope: CredentialScope, named: str | None) -> str | None:
    return group_of_scope(
        caller.principal, scope, named, "a credential of your own", "change the credential of a group"
    )
