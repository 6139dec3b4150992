"""Where the bearer token of a request comes from.

All but :class:`GivenToken` may be shared by threads, and through a :class:`FileShelf` by processes: one of them renews
a token while the others wait, and then all use the new one.
"""

import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from stemma.client.addresses import service_address
from stemma.client.issuer import Issuer, LoginWays, login_ways
from stemma.client.problems import LoginRefused, NotLoggedIn
from stemma.client.shelf import KeptToken, MemoryShelf, TokenShelf
from stemma.errors import NotAuthenticated

SCOPE: Final = "openid"
_SENDABLE: Final = re.compile(r"[!-~]+")


class Tokens(Protocol):
    """Gives the token to send. Safe to ask before every request: an answer is kept as long as it holds."""

    def access_token(self) -> str:
        """A token that is good now.

        Raises:
            NotAuthenticated: there is none to be had.
        """

    def renew(self, refused: str) -> bool:
        """Do not give the token ``refused`` again; whether another may be had."""


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token from elsewhere, used as it is."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _SENDABLE.fullmatch(self.token):
            raise NotAuthenticated("that is no token: it is empty, or has signs that none has")

    def access_token(self) -> str:
        """That token."""
        return self.token

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - there is one token
        """There is no other."""
        return False


class KeptTokens:
    """The tokens of a login that was made before and lies on a shelf; the base of those that can log in themselves.

    A token is used until shortly before its end, then renewed by its refresh token (RFC 6749 §6), the newest of which
    is kept; where that is spent, the login is made anew, by those who can.

    Args:
        url: the service.
        ways: where its tokens are got; asked of the service where neither this nor ``token_url`` is given.
        token_url: the same, from somebody who knows; it is not checked.
        client_id: as what we log in; what the service says, or ``api``, without it.
        shelf: where the token is kept; in memory without it.
        trusted_origins: see :mod:`stemma.client.addresses`.
    """

    def __init__(
        self,
        url: str,
        *,
        ways: LoginWays | None = None,
        token_url: str | None = None,
        client_id: str | None = None,
        shelf: TokenShelf | None = None,
        trusted_origins: Collection[str] = (),
    ) -> None:
        self._url = service_address(url)
        self._ways, self._token_url, self._client_id = ways, token_url, client_id
        self._trusted_origins = trusted_origins
        self._shelf = shelf or MemoryShelf()
        self._alone = threading.RLock()
        self._token: KeptToken | None = None
        self._refused: str | None = None

    def access_token(self) -> str:
        """A token that is good now: the one there is, or a new one.

        Raises:
            NotLoggedIn: nobody has logged in, or the login has ended.
            LoginRefused: the issuer gives none.
            ServiceUnreachable: the issuer does not answer.
        """
        with self._alone:
            token = self._token or self._shelf.load()
            if token is None or not self._holds(token):
                token = self._renewed()
            self._token = token
            return token.access_token

    def renew(self, refused: str) -> bool:
        """Do not give the token ``refused`` again; another is got when it is asked for, if one is to be had."""
        with self._alone:
            self._refused = refused
            if self._token is not None and self._token.access_token == refused:
                self._token = None  # else another thread has a new one already
        return True

    def revoke(self, issuer: str | None = None) -> bool:
        """Forget the login here, and end it at the issuer; whether that could be done there.

        Raises:
            StemmaError: it is forgotten here, and the issuer did not do its part.
        """
        with self._alone, self._shelf.locked():
            token, self._token = self._shelf.load() or self._token, None
            self._shelf.keep(None)
        if token is None or token.refresh_token is None:
            return False
        return self._issuer().revoke(token, issuer or self._found().issuer)

    @property
    def current(self) -> KeptToken | None:
        """The token that was given last."""
        return self._token

    def _holds(self, token: KeptToken) -> bool:
        return token.access_token != self._refused and token.renew_at > time.time()

    def _renewed(self) -> KeptToken:
        with self._shelf.locked():
            kept = self._shelf.load()
            if kept is not None and self._holds(kept):
                return kept  # another process was quicker
            token = self._refreshed(kept) or self._first(has_ended=kept is not None)
            self._shelf.keep(token)
            return token

    def _refreshed(self, kept: KeptToken | None) -> KeptToken | None:
        """A token by the refresh token; None where that is spent."""
        if kept is None or kept.refresh_token is None:
            return None
        try:
            fresh = self._issuer().grant(grant_type="refresh_token", refresh_token=kept.refresh_token)
        except LoginRefused as refusal:
            if refusal.error != "invalid_grant":
                raise
            self._shelf.keep(None)
            return None
        # An issuer that gives no new one goes on with the old one.
        return KeptToken(fresh.access_token, fresh.renew_at, fresh.refresh_token or kept.refresh_token)

    def _first(self, *, has_ended: bool) -> KeptToken:
        """Log in.

        Raises:
            NotLoggedIn: that is not in our power.
        """
        raise NotLoggedIn(self._url, has_ended=has_ended)

    def _issuer(self) -> Issuer:
        if self._token_url is not None:
            return Issuer(self._token_url, self._client_id or "api")
        ways = self._found()
        return Issuer(ways.token_url, self._client_id or ways.client_id)

    def _found(self) -> LoginWays:
        if self._ways is None:
            self._ways = login_ways(self._url, trusted_origins=self._trusted_origins)
        return self._ways


class PasswordTokens(KeptTokens):
    """Tokens by the password grant (RFC 6749 §4.3), for scripts; people log in with :class:`DeviceTokens`.

    ``password`` may be a function, which is asked only when it is needed; None leaves what is on the shelf alone.
    """

    def __init__(
        self,
        url: str,
        username: str | None = None,
        password: str | Callable[[], str] | None = None,
        *,
        ways: LoginWays | None = None,
        token_url: str | None = None,
        client_id: str | None = None,
        shelf: TokenShelf | None = None,
        trusted_origins: Collection[str] = (),
    ) -> None:
        super().__init__(
            url, ways=ways, token_url=token_url, client_id=client_id, shelf=shelf, trusted_origins=trusted_origins
        )
        self._username, self._password = username, password

    def _first(self, *, has_ended: bool) -> KeptToken:
        if self._username is None or self._password is None:
            raise NotLoggedIn(self._url, has_ended=has_ended)
        password = self._password if isinstance(self._password, str) else self._password()
        return self._issuer().grant(grant_type="password", username=self._username, password=password, scope=SCOPE)


class ClientCredentials(KeptTokens):
    """Tokens of a program that logs in as itself, with its client's secret (RFC 6749 §4.4).

    ``client_secret`` may be a function, which is asked only when it is needed.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str | Callable[[], str],
        *,
        ways: LoginWays | None = None,
        token_url: str | None = None,
        shelf: TokenShelf | None = None,
        trusted_origins: Collection[str] = (),
    ) -> None:
        super().__init__(
            url, ways=ways, token_url=token_url, client_id=client_id, shelf=shelf, trusted_origins=trusted_origins
        )
        self._secret = client_secret

    def _first(self, *, has_ended: bool) -> KeptToken:  # noqa: ARG002 - a program needs nobody to log in again
        return self._issuer().grant(grant_type="client_credentials", scope=SCOPE)

    def _issuer(self) -> Issuer:
        known = super()._issuer()
        secret = self._secret if isinstance(self._secret, str) else self._secret()
        return Issuer(known.token_url, known.client_id, secret)
