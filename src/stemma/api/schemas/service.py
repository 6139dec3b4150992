"""The service itself, as the API shows it."""

from typing import Literal

from pydantic import Field

from stemma.api.schemas.envelope import Answer


class Health(Answer):
    """That the service is alive."""

    status: Literal["alive"] = "alive"
    version: str


class Readiness(Answer):
    """Each part, and whether it answers."""

    database: Literal["ready", "unavailable"]
    store: Literal["ready", "unavailable"]
    login: Literal["ready", "unavailable"] = Field(
        description="Unavailable: nobody can log in; who did before goes on, so that the service as a whole is ready."
    )


class LoginWays(Answer):
    """Where and how to get a token."""

    issuer: str = Field(examples=["http://localhost:8080/realms/prov"])
    client_id: str = Field(examples=["api"], description="The public client, for people.")
    token_url: str = Field(description="Relative to the service, where that gives the tokens itself.")
    authorization_url: str | None = Field(description="For the authorization code flow with PKCE (RFC 7636).")
    device_authorization_url: str | None = Field(description="For the device flow (RFC 8628).")


class WhoAmI(Answer):
    """What the token says of its bearer."""

    subject: str
    username: str = Field(examples=["user_1"])
    groups: list[str] = Field(examples=[["group1"]])
    roles: list[str] = Field(examples=[["reprov_user"]])


class TokenAnswer(Answer):
    """A fresh token (RFC 6749 §5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind of token, none itself
    expires_in: int = Field(examples=[28800])
    refresh_token: str
    refresh_expires_in: int
    scope: str = "openid"
