"""Where the bearer token of a request comes from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx

from stemma.client.problems import ServiceUnreachable, UnexpectedAnswer
from stemma.errors import NotAuthenticated

_MARGIN_SECONDS: Final = 20.0
"""A token that ends sooner is renewed before it is used."""
_TIMEOUT_SECONDS: Final = 30.0


class Tokens(Protocol):
    """Gives the token to send. Safe to ask before every request: an answer is kept as long as it holds."""

    def access_token(self) -> str:
        """A token that is good now.

        Raises:
            NotAuthenticated: there is none to be had.
        """

    def renew(self) -> bool:
        """Forget the token, which was refused; whether another may be had."""


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token from elsewhere, used as it is."""

    token: str

    def access_token(self) -> str:
        """That token."""
        return self.token

    def renew(self) -> bool:
        """There is no other."""
        return False


@dataclass(frozen=True, slots=True)
class KeptToken:
    """What a token endpoint gave."""

    access_token: str
    expires_at: float
    """Seconds since 1970."""
    refresh_token: str | None = None


class TokenShelf(Protocol):
    """Keeps a token from one process to the next."""

    def load(self) -> KeptToken | None:
        """What was kept; None where there is nothing."""

    def keep(self, token: KeptToken | None) -> None:
        """Keep ``token``; None forgets."""


class NoShelf:
    """Keeps nothing."""

    def load(self) -> KeptToken | None:
        """Nothing."""
        return None

    def keep(self, token: KeptToken | None) -> None:
        """Do not keep it."""


class PasswordTokens:
    """Tokens by the password grant (RFC 6749 §4.3), renewed by the refresh grant (§6) where one was given.

    ``password`` may be a function, which is asked only when it is needed; None leaves what is on the shelf alone.
    """

    def __init__(
        self,
        url: str,
        username: str | None = None,
        password: str | Callable[[], str] | None = None,
        *,
        token_url: str | None = None,
        client_id: str = "api",
        shelf: TokenShelf | None = None,
    ) -> None:
        self._token_url = token_url or f"{url.rstrip('/')}/auth/token"
        self._username, self._password = username, password
        self._client_id = client_id
        self._shelf = shelf or NoShelf()
        self._token: KeptToken | None = None

    def access_token(self) -> str:
        """A token that is good now: the one there is, or a new one.

        Raises:
            NotAuthenticated: neither refresh token nor password is accepted, or there is none.
            ServiceUnreachable: the token endpoint does not answer.
        """
        token = self._token or self._shelf.load()
        if token is None or token.expires_at - _MARGIN_SECONDS <= time.time():
            token = self._refreshed(token) or self._by_password()
            self._shelf.keep(token)
        self._token = token
        return token.access_token

    def renew(self) -> bool:
        """Forget the token; another may be had by refreshing or with a password."""
        kept = self._token or self._shelf.load()
        self._token = None
        if kept is None:
            return False
        spent = KeptToken(kept.access_token, 0.0, kept.refresh_token) if kept.expires_at else None
        self._shelf.keep(spent)
        return spent is not None and (self._password is not None or kept.refresh_token is not None)

    def _refreshed(self, token: KeptToken | None) -> KeptToken | None:
        if token is None or token.refresh_token is None:
            return None
        try:
            return self._ask(grant_type="refresh_token", refresh_token=token.refresh_token)
        except NotAuthenticated:
            return None  # spent as well: the password is the next way

    def _by_password(self) -> KeptToken:
        if self._username is None or self._password is None:
            raise NotAuthenticated("you are not logged in; run: stemma login")
        password = self._password if isinstance(self._password, str) else self._password()
        return self._ask(grant_type="password", username=self._username, password=password, scope="openid")

    def _ask(self, **form: str) -> KeptToken:
        asked = time.time()
        try:
            answer = httpx.post(
                self._token_url, data={"client_id": self._client_id, **form}, timeout=_TIMEOUT_SECONDS, trust_env=False
            )
        except httpx.TransportError as error:
            raise ServiceUnreachable(self._token_url, str(error)) from error
        if answer.is_client_error:
            raise NotAuthenticated(f"login was refused: {_reason(answer)}")
        try:
            told: dict[str, Any] = answer.json()
            expires_at = asked + float(told.get("expires_in", 60))
            return KeptToken(told["access_token"], expires_at, told.get("refresh_token"))
        except (ValueError, KeyError, TypeError) as error:
            raise UnexpectedAnswer(f"{self._token_url} answered {answer.status_code} without a token") from error


def _reason(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except ValueError:
        return f"status {answer.status_code}"
    return str(told.get("error_description") or told.get("message") or told.get("error") or answer.status_code)
