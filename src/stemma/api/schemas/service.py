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
