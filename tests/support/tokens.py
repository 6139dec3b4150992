"""Tokens for people whom the local issuer does not know: any name, groups and roles, signed with its own key."""

from collections.abc import Sequence

from stemma.auth.local_issuer import LocalIssuer, User
from stemma.auth.policy import ADMIN, USER
from stemma.settings import Settings


def token(
    settings: Settings, username: str, *, groups: Sequence[str] = (), roles: Sequence[str] = (USER, ADMIN)
) -> str:
    """An access token that an installation with these settings believes."""
    return LocalIssuer(settings)._tokens(User(username, "", tuple(groups), tuple(roles))).access_token
