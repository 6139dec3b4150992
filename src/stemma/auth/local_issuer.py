"""The issuer of an embedded installation: five known people, tokens signed with a key of our own.

Everybody knows these passwords, so it serves loopback addresses and nothing else (:mod:`stemma.auth.exposure`).
Whoever verifies its tokens does it as with those of Keycloak.
"""

import hmac
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from stemma import clock
from stemma.auth.kept import kept
from stemma.auth.policy import ADMIN, USER
from stemma.auth.tokens import AUDIENCE, MAX_TOKEN_CHARACTERS
from stemma.errors import StemmaError
from stemma.settings import Settings

ALGORITHM: Final = "ES256"
CLIENT: Final = "api"
REFRESH_LIFETIME_SECONDS: Final = 30 * 24 * 3600
"""How long nobody needs to type a password again."""
FAILURES: Final = 10
FAILURE_WINDOW_SECONDS: Final = 60.0
"""After so many wrong passwords for a name within this time, the name is refused until some of them are past."""


class GrantRefused(StemmaError):
    """No token for this (RFC 6749 §5.2); ``error`` is the word that OAuth clients know."""

    code, status, exit_code = "grant-refused", HTTPStatus.BAD_REQUEST, 77

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class TooManyFailures(StemmaError):
    """Too many wrong passwords for one name."""

    code, status, exit_code = "too-many-failures", HTTPStatus.TOO_MANY_REQUESTS, 75

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many wrong passwords; try again in {retry_after_seconds} seconds")
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can log in."""

    username: str
    password: str
    groups: tuple[str, ...]
    roles: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The same on every machine and for ever."""
        return str(uuid5(NAMESPACE_URL, f"stemma:local-issuer:{self.username}"))


def _user(number: int) -> User:
    group = "group1" if number <= 3 else "group2"  # noqa: PLR2004 - the people of the shipped realm: 1-3 and 4-5
    roles = (USER, ADMIN) if number in {1, 4} else (USER,)
    return User(f"user_{number}", f"password_{number}", (group,), roles)


USERS: Final = {user.username: user for user in map(_user, range(1, 6))}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a grant gives."""

    access_token: str
    access_seconds: int
    refresh_token: str
    refresh_seconds: int


class LocalIssuer:
    """Logs the five people in. Safe to use from several threads; several processes share its key."""

    def __init__(self, settings: Settings) -> None:
        self.url = f"{settings.public_url.rstrip('/')}/auth"
        self.issuer = self.url
        self._access_seconds = settings.token_lifetime_seconds
        self._key = _kept_key(settings.keys_folder)
        self._throttle = Throttle()

    def fetch(self) -> Sequence[dict[str, Any]]:
        """Its public keys."""
        return [{**self._key.as_dict(private=False), "kid": self._key.kid, "use": "sig", "alg": ALGORITHM}]

    def grant_password(self, username: str, password: str) -> Tokens:
        """Tokens for who knows the password.

        Raises:
            GrantRefused: it is another password, or there is nobody of that name.
            TooManyFailures: it was tried too often.
        """
        user = USERS.get(username)
        counted = user.username if user else ""  # names that do not exist count together, so that none fills memory
        self._throttle.check(counted)
        expected = user.password if user else "nobody's"
        is_right = hmac.compare_digest(password.encode("utf-8", "replace"), expected.encode())
        if user is None or not is_right:
            self._throttle.note_failure(counted)
            raise GrantRefused("invalid_grant", "wrong username or password")
        return self._tokens(user)

    def grant_refresh(self, refresh_token: str) -> Tokens:
        """Fresh tokens for who holds a refresh token.

        Raises:
            GrantRefused: it does not hold.
        """
        claims = self._refresh_claims(refresh_token)
        user = next((user for user in USERS.values() if user.subject == claims.get("sub")), None)
        expires = claims.get("exp")
        holds = claims.get("typ") == "Refresh" and claims.get("iss") == self.url and claims.get("aud") == self.url
        if user is None or not holds or not isinstance(expires, int) or expires <= clock.now().timestamp():
            raise GrantRefused("invalid_grant", "the refresh token does not hold; log in again")
        return self._tokens(user)

    def configuration(self) -> dict[str, Any]:
        """What OpenID Connect clients look up (OpenID Connect Discovery 1.0 §3)."""
        return {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "grant_types_supported": ["password", "refresh_token"],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        }

    def _refresh_claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise GrantRefused("invalid_grant", "the refresh token is too long")
        try:
            return dict(jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims)
        except (JoseError, ValueError, TypeError) as error:
            raise GrantRefused("invalid_grant", "the refresh token does not hold; log in again") from error

    def _tokens(self, user: User) -> Tokens:
        now = int(clock.now().timestamp())
        common = {"iss": self.url, "sub": user.subject, "azp": CLIENT, "iat": now}
        access = common | {
            "exp": now + self._access_seconds,
            "jti": str(clock.new_uuid()),
            "aud": AUDIENCE,
            "typ": "Bearer",
            "scope": "openid",
            "preferred_username": user.username,
            "groups": list(user.groups),
            "realm_access": {"roles": list(user.roles)},
        }
        refresh = common | {
            "exp": now + REFRESH_LIFETIME_SECONDS,
            "jti": str(clock.new_uuid()),
            "aud": self.url,
            "typ": "Refresh",
        }
        return Tokens(self._signed(access), self._access_seconds, self._signed(refresh), REFRESH_LIFETIME_SECONDS)

    def _signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": ALGORITHM, "kid": self._key.kid}, claims, self._key, algorithms=[ALGORITHM])


class Throttle:
    """Counts failures by name, for as long as they matter."""

    def __init__(self, limit: int = FAILURES, window_seconds: float = FAILURE_WINDOW_SECONDS) -> None:
        self._limit = limit
        self._window_seconds = window_seconds
        self._failures: dict[str, deque[float]] = {}
        self._counting = threading.Lock()

    def check(self, name: str) -> None:
        """Return when ``name`` may be tried.

        Raises:
            TooManyFailures: it has failed too often lately.
        """
        with self._counting:
            failures = self._recent(name)
            if len(failures) >= self._limit:
                raise TooManyFailures(1 + int(failures[0] + self._window_seconds - time.monotonic()))

    def note_failure(self, name: str) -> None:
        """Count one."""
        with self._counting:
            self._recent(name).append(time.monotonic())

    def _recent(self, name: str) -> deque[float]:
        failures = self._failures.setdefault(name, deque())
        while failures and failures[0] <= time.monotonic() - self._window_seconds:
            failures.popleft()
        return failures


def _kept_key(folder: Path) -> ECKey:
    """The key pair in ``folder``; the first who asks makes it."""
    key = ECKey.import_key(kept(folder / "local-issuer.pem", lambda: ECKey.generate_key("P-256").as_pem(private=True)))
    key.ensure_kid()
    return key
