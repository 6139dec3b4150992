"""Engines and credentials for them, as the API takes and shows them. No secret is ever shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from stemma.api.schemas.envelope import Answer
from stemma.lifecycle.credentials import LONGEST, CredentialScope, Known
from stemma.lifecycle.engines import EngineState

_GROUP_CHARACTERS = 255


class CredentialGiven(BaseModel):
    """What an engine is to be shown for somebody's runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    token: SecretStr = Field(
        min_length=1, max_length=LONGEST, description="As the engine's server gave it.", examples=["example-token"]
    )
    scope: CredentialScope = Field(
        default=CredentialScope.PERSON, description="For your own runs, or for those of a group.", examples=["person"]
    )
    group: str | None = Field(
        default=None,
        max_length=_GROUP_CHARACTERS,
        description="Which group, where you are in several.",
        examples=[None],
    )


class CredentialShown(Answer):
    """That there is a credential, and nothing of what it is."""

    scope: CredentialScope = Field(examples=["person"])
    group: str | None = Field(description="Null for your own.", examples=[None])
    set_by: str = Field(description="Who gave it.", examples=["user_1"])
    set_at: datetime

    @classmethod
    def of(cls, known: Known) -> "CredentialShown":
        """What is shown of ``known``."""
        return cls(scope=known.scope, group=known.group, set_by=known.set_by, set_at=known.set_at)


class EngineShown(Answer):
    """An engine that is set up here."""

    name: str = Field(examples=["reana"])
    version: str | None = Field(description="Null where it does not work.", examples=["0.9.4"])
    default: bool = Field(description="Whether it runs what names no engine.", examples=[True])
    remote: bool = Field(description="Whether its runs take place elsewhere.", examples=[True])
    capabilities: dict[str, Any] = Field(
        description="What it can do, in its own words.", examples=[{"cwl_versions": ["v1.0", "v1.1", "v1.2"]}]
    )
    problem: str | None = Field(description="Why it does not work here.", examples=[None])
    takes_credentials: bool = Field(description="Whether a run is done in its owner's name there.", examples=[True])
    credentials: list[CredentialShown] = Field(
        description="Yours and those of your groups. For a run the person's is taken, else the group's."
    )
    service_credential: bool = Field(
        description="Whether the service has one, for runs of whoever has none.", examples=[False]
    )

    @classmethod
    def of(cls, state: EngineState, credentials: Sequence[Known], *, is_for_all: bool) -> "EngineShown":
        """What is shown of an engine to somebody who has ``credentials`` for it."""
        return cls(
            name=state.name,
            version=state.version,
            default=state.is_default,
            remote=state.is_remote,
            capabilities=state.capabilities,
            problem=state.problem,
            takes_credentials=state.takes_credentials,
            credentials=[CredentialShown.of(known) for known in credentials],
            service_credential=is_for_all,
        )


class CredentialPlaceShown(Answer):
    """Whose credential for which engine was given or taken back."""

    engine: str = Field(examples=["reana"])
    scope: CredentialScope = Field(examples=["person"])
    group: str | None = Field(description="Null for your own.", examples=[None])
