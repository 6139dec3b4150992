"""What routes ask for: who asks and may they, and parameters that several of them take."""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Final

from anyio import to_thread
from fastapi import Depends, Path, Query, Request
from fastapi.openapi.models import OAuthFlows
from fastapi.security import OAuth2
from starlette.convertors import Convertor, register_url_convertor

from stemma.api import audit
from stemma.api.identity import SCHEME
from stemma.api.service import Service
from stemma.auth.policy import Action, require, require_admin
from stemma.auth.principal import Principal
from stemma.errors import Finding, Forbidden, InvalidRequest, NotAuthenticated
from stemma.lifecycle.credentials import CredentialScope
from stemma.lifecycle.installation import Installation

_LARGEST_NUMBER: Final = 10**18 - 1
"""Below what every database keeps as a number."""
_CURSOR: Final = "v1:"


class NumberConvertor(Convertor[int]):
    """A number in a path. What is none, or too large for a database, leads to no route and so to 404."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        """As a number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """As it stands in a path."""
        return str(value)


register_url_convertor("number", NumberConvertor())


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what is asked."""

    principal: Principal
    service: Service

    @property
    def installation(self) -> Installation:
        """Where the answer comes from."""
        return self.service.installation


class Allowed(OAuth2):
    """Lets a caller through whose token holds and whose role may do ``action``; every guarded route depends on one.

    Asynchronous: a ``def`` dependency would be one more hop between threads.
    """

    def __init__(self, action: Action) -> None:
        super().__init__(flows=OAuthFlows(), scheme_name=SCHEME, auto_error=False)  # the flows: Identity.flows
        self.action = action

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override] # the base gives the header's text
        """The caller.

        Raises:
            NotAuthenticated: there is no token, or it does not hold.
            Forbidden: the role does not allow it.
        """
        service: Service = request.app.state.service
        principal = await principal_of(service, request.headers.get("authorization"))
        if self.action is not Action.READ:
            principal = audit.asked(request.scope, principal, self.action)
        try:
            require(principal, self.action)
        except Forbidden:
            audit.asked(request.scope, principal, self.action)
            raise
        return Caller(principal, service)


async def principal_of(service: Service, authorization: str | None) -> Principal:
    """Whom the header of a request names.

    Raises:
        NotAuthenticated: there is no token, or it does not hold.
        Unavailable: it cannot be verified now.
    """
    token = _bearer(authorization)
    verifier = service.identity.verifier
    known = verifier.remembered(token)
    if known is not None:
        return known
    return await to_thread.run_sync(verifier.verify, token, limiter=service.verifying)


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("no token was sent; log in, and send it as: Authorization: Bearer TOKEN")
    return token.strip()


async def open_to_all() -> None:
    """Marks a route that wants no token. A test knows which may."""


Reader = Annotated[Caller, Depends(Allowed(Action.READ))]
Registrar = Annotated[Caller, Depends(Allowed(Action.REGISTER))]
Runner = Annotated[Caller, Depends(Allowed(Action.RUN))]
Capturer = Annotated[Caller, Depends(Allowed(Action.CAPTURE))]
CredentialKeeper = Annotated[Caller, Depends(Allowed(Action.AUTHORIZE))]
RemoteWriter = Annotated[Caller, Depends(Allowed(Action.WRITE))]
Deleter = Annotated[Caller, Depends(Allowed(Action.DELETE))]

RegistryId = Annotated[int, Path(description="The entry's number.", le=_LARGEST_NUMBER, examples=[7])]
ExecutionId = Annotated[int, Path(description="The execution's number.", le=_LARGEST_NUMBER, examples=[12])]
FileId = Annotated[int, Path(description="The file's number in this service.", le=_LARGEST_NUMBER, examples=[31])]
Revision = Annotated[
    int | None, Query(description="The number of a revision; the newest where none is given.", ge=1, le=2**31 - 1)
]
Limit = Annotated[int, Query(description="How many at most.", ge=1, le=200)]
Cursor = Annotated[
    str | None, Query(description="`next_cursor` of the part before; the first part without.", max_length=100)
]
ReanaName = Annotated[str, Query(description="`name:version`, as executions show it.", examples=["rain:1-0"])]
ReanaNumber = Annotated[int, Query(description="Which of the runs of that name.", ge=1, le=2**31 - 1, examples=[1])]


def cursor_of(last_id: int) -> str:
    """Where the part behind ``last_id`` begins, in a form that nobody reckons with."""
    return base64.urlsafe_b64encode(f"{_CURSOR}{last_id}".encode()).decode().rstrip("=")


def id_of(cursor: str | None) -> int | None:
    """The id that a cursor stands for; None for the first part.

    Raises:
        InvalidRequest: it is none of ours.
    """
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        number = int(text.removeprefix(_CURSOR))
    except (binascii.Error, ValueError) as error:
        raise _no_cursor() from error
    if not text.startswith(_CURSOR) or not 0 <= number <= _LARGEST_NUMBER:
        raise _no_cursor()
    return number


def _no_cursor() -> InvalidRequest:
    message = "that is no cursor of this service; give back next_cursor as it was given, or none"
    return InvalidRequest(message, [Finding(message, "request/cursor")])


def given(in_query: str | None, in_form: str | None) -> str | None:
    """A parameter that may come in either place; empty is as good as not given."""
    return in_query or in_form or None


def group_of_scope(principal: Principal, scope: CredentialScope, named: str | None, own: str, deed: str) -> str | None:
    """The group that something is kept for; None where it is ``own``, the caller's. ``deed`` is what needs an admin.

    Raises:
        Forbidden: the caller may not do that for the group.
        GroupRequired: there are several, and none was named.
        InvalidRequest: a group was named for what is the caller's own.
    """
    if scope is CredentialScope.GROUP:
        require_admin(principal, deed)
        return principal.group_for_writing(named)
    if named is not None:
        message = f"{own} belongs to no group; for one of a group, say so with scope"
        raise InvalidRequest(message, [Finding(message, "request/group")])
    return None


def required(name: str, value: str | None) -> str:
    """``value``, which must be there.

    Raises:
        InvalidRequest: it is not.
    """
    if value is None:
        message = f"give {name!r}, as a query parameter or a form field"
        raise InvalidRequest(message, [Finding(message, "request/missing")])
    return value
