"""The service itself, as the API shows it."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stemma.api.schemas.envelope import Answer
from stemma.lifecycle.probing import Probed


class PartState(StrEnum):
    """Whether a part of the service answers."""

    READY = "ready"
    UNAVAILABLE = "unavailable"


class Health(Answer):
    """That the service is alive."""

    status: Literal["alive"] = "alive"
    version: str = Field(examples=["0.1.0"])


class EngineAnswer(Answer):
    """Whether an engine elsewhere answers."""

    name: str = Field(examples=["reana"])
    state: PartState
    version: str | None = Field(description="Of what runs the jobs there.", examples=["0.9.4"])

    @classmethod
    def of(cls, probed: Probed) -> "EngineAnswer":
        """What is shown of ``probed``: not why it does not answer, which is for operators."""
        state = PartState.UNAVAILABLE if probed.version is None else PartState.READY
        return cls(name=probed.name, state=state, version=probed.version)


class Readiness(Answer):
    """Each part, and whether it answers."""

    database: PartState
    store: PartState
    login: PartState = Field(
        description="Unavailable: nobody can log in; who did before goes on, so that the service as a whole is ready."
    )
    engines: list[EngineAnswer] = Field(
        description="Those elsewhere, as they answered within the last half minute; runs on one that does not wait."
    )


class LoginWays(Answer):
    """Where and how to get a token."""

    issuer: str = Field(examples=["http://localhost:8080/realms/prov"])
    client_id: str = Field(examples=["api"], description="The public client, for people.")
    token_url: str = Field(
        description="Relative to the service, where that gives the tokens itself.", examples=["/auth/token"]
    )
    authorization_url: str | None = Field(
        description="For the authorization code flow with PKCE (RFC 7636).", examples=[None]
    )
    device_authorization_url: str | None = Field(description="For the device flow (RFC 8628).", examples=[None])


class WhoAmI(Answer):
    """What the token says of its bearer."""

    subject: str = Field(
        description="The same for ever, whatever the name.", examples=["6f1a0c52-8f5e-5c0b-9a35-0d7f4a1c2b3d"]
    )
    username: str = Field(examples=["user_1"])
    groups: list[str] = Field(examples=[["group1"]])
    roles: list[str] = Field(examples=[["reprov_user"]])


class TokenAnswer(Answer):
    """A fresh token (RFC 6749 §5.1)."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiIs…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind of token, none itself
    expires_in: int = Field(examples=[28800])
    refresh_token: str = Field(examples=["eyJhbGciOiJFUzI1NiIs…"])
    refresh_expires_in: int = Field(examples=[2592000])
    scope: str = "openid"


class KeySet(BaseModel):
    """Public keys (RFC 7517 §5)."""

    model_config = ConfigDict(frozen=True)

    keys: list[dict[str, Any]] = Field(
        examples=[[{"kty": "EC", "crv": "P-256", "x": "…", "y": "…", "kid": "…", "use": "sig", "alg": "ES256"}]]
    )


class IssuerConfiguration(BaseModel):
    """Where an issuer's endpoints are (OpenID Connect Discovery 1.0 §3)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    issuer: str = Field(examples=["http://localhost:8000/auth"])
    token_endpoint: str = Field(examples=["http://localhost:8000/auth/token"])
    jwks_uri: str = Field(examples=["http://localhost:8000/auth/jwks"])
