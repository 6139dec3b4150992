"""Verifies access tokens: one code for every issuer.

Nothing is asked of anybody while a known key signed the token; keys that have become old are asked for anew beside the
requests, so that one that was withdrawn is not believed for ever. What has been verified is remembered for a while,
by the token's digest and never longer than the token lives, so that the next request with it costs microseconds.
"""

import base64
import hashlib
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, RSAKey

from stemma import clock
from stemma.auth.principal import Principal
from stemma.errors import NotAuthenticated, Unavailable

logger = logging.getLogger(__name__)

AUDIENCE: Final = "api"
ALGORITHMS: Final = ("RS256", "ES256")
"""Signatures with a key pair only: never ``none``, and none whose secret a public key could be taken for."""
MAX_TOKEN_CHARACTERS: Final = 16 * 1024
REFRESH_SECONDS: Final = 5.0
"""At most this often the keys are asked for anew, however many tokens name a key that nobody knows."""
KEYS_SECONDS: Final = 300.0
"""After so long the keys are asked for anew, while requests go on with those that are known."""
REMEMBERED_SECONDS: Final = 300.0
"""How long a verified token is believed at most without another look: a key that is withdrawn is out by then."""
REMEMBERED_TOKENS: Final = 4096
EARLY_SECONDS: Final = 5.0
"""How far ahead of ours the issuer's clock may be."""
MAX_NAME_CHARACTERS: Final = 255
"""The longest subject, username or group that the database keeps."""

_TOKEN_TYPES: Final = frozenset({None, "JWT", "at+jwt", "application/at+jwt"})
_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})


class KeySource(Protocol):
    """An issuer: what its tokens call it, and where its public keys come from."""

    issuer: str

    def fetch(self) -> Sequence[dict[str, Any]]:
        """The issuer's keys as JSON Web Keys, asked for now.

        Raises:
            Unavailable: the issuer does not answer.
        """


@dataclass(frozen=True, slots=True)
class IssuerState:
    """How it stands with the issuer."""

    answers: bool
    has_keys: bool
    """Whether tokens can be verified, be it with the keys of before."""


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    until: float


class Verifier:
    """Turns tokens of one issuer into principals. Safe to use from several threads."""

    def __init__(self, keys: KeySource, *, audience: str = AUDIENCE) -> None:
        self._source = keys
        self._issuer = keys.issuer
        self._audience = audience
        self._keys: dict[str, Key] = {}
        self._asked_at = self._had_at = -math.inf
        self._trouble: Unavailable | None = None
        self._asking = threading.Lock()
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()
        self._remembering = threading.Lock()

    def remembered(self, token: str) -> Principal | None:
        """Whom ``token`` names, where it was verified lately and still lives; else None. Takes microseconds."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        known = self._remembered.get(_digest(token))
        return known.principal if known is not None and clock.now().timestamp() < known.until else None

    def verify(self, token: str) -> Principal:
        """Whom ``token`` names. May ask the issuer for its keys.

        Raises:
            NotAuthenticated: it does not hold.
            Unavailable: no key is known yet, and the issuer does not answer.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise NotAuthenticated("the token is too long")
        known = self.remembered(token)
        if known is not None:
            return known
        header = _header(token)
        claims = self._claims(token, self._key(header))
        expires_at = self._check(header, claims)
        principal = _principal(claims, expires_at)
        until = min(expires_at, clock.now().timestamp() + REMEMBERED_SECONDS)
        self._remember(token, _Verified(principal, until))
        return principal

    def _key(self, header: dict[str, Any]) -> Key:
        name = header.get("kid")
        if not isinstance(name, str):
            raise NotAuthenticated("the token does not say which key signed it")
        key = self._keys.get(name)
        if key is None:
            self._ask_for_keys(name)
            key = self._keys.get(name)
        elif self._is_due(self._had_at, KEYS_SECONDS):
            self._ask_beside()
        if key is None:
            raise NotAuthenticated("the token is signed with a key that its issuer does not have")
        return key

    def check_issuer(self) -> IssuerState:
        """Whether the issuer answers, asked now or some seconds ago, and whether tokens can be verified without it."""
        self._ask_for_keys(None)
        return IssuerState(answers=self._had_at >= self._asked_at, has_keys=bool(self._keys))

    def _ask_for_keys(self, wanted: str | None) -> None:
        """Ask, unless that was done some seconds ago. Who has keys to go on with does not wait for who is asking.

        Raises:
            Unavailable: no key is known yet, ``wanted`` is, and the issuer does not answer.
        """
        if not self._asking.acquire(blocking=not self._keys):
            return
        try:
            if wanted not in self._keys and self._is_due(self._asked_at, REFRESH_SECONDS):
                self._asked_at = time.monotonic()
                self._trouble = self._fetch()
            if wanted is not None and not self._keys and self._trouble:
                raise self._trouble
        finally:
            self._asking.release()

    def _fetch(self) -> Unavailable | None:
        """Take the issuer's keys in place of those that there are; what hindered it where it does not answer."""
        try:
            found = self._source.fetch()
        except Unavailable as error:
            logger.warning("the keys of %s could not be had: %s", self._issuer, getattr(error, "reason", error))
            return error
        self._keys = {key.kid: key for key in map(_signing_key, found) if key is not None and key.kid}
        self._had_at = time.monotonic()
        return None

    def _ask_beside(self) -> None:
        """Ask in a thread of its own; the request that noticed that the keys are old goes on."""
        if self._is_due(self._asked_at, REFRESH_SECONDS) and not self._asking.locked():
            threading.Thread(target=self._ask_for_keys, args=[None], name="keys", daemon=True).start()

    @staticmethod
    def _is_due(last: float, seconds: float) -> bool:
        return time.monotonic() - last >= seconds

    def _claims(self, token: str, key: Key) -> dict[str, Any]:
        try:
            return dict(jwt.decode(token, key, algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError, TypeError) as error:
            raise NotAuthenticated("the token's signature does not hold") from error

    def _check(self, header: dict[str, Any], claims: dict[str, Any]) -> float:
        """Return when the token ends.

        Raises:
            NotAuthenticated: they are not for us, or not for now.
        """
        now = clock.now().timestamp()
        audience = claims.get("aud")
        expires = _seconds(claims, "exp")
        begins = _seconds(claims, "nbf") if "nbf" in claims else now
        if claims.get("iss") != self._issuer:
            raise NotAuthenticated("the token is from another issuer")
        if audience != self._audience and not (isinstance(audience, list) and self._audience in audience):
            raise NotAuthenticated("the token is meant for another service")
        if claims.get("typ") != "Bearer" and not ("typ" not in claims and header.get("typ") in _ACCESS_TOKEN_TYPES):
            raise NotAuthenticated("this is no access token")
        if expires <= now:
            raise NotAuthenticated("the token has expired; log in again")
        if begins > now + EARLY_SECONDS:
            raise NotAuthenticated("the token is not valid yet")
        return expires

    def _remember(self, token: str, verified: _Verified) -> None:
        with self._remembering:
            self._remembered[_digest(token)] = verified
            while len(self._remembered) > REMEMBERED_TOKENS:
                self._remembered.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _header(token: str) -> dict[str, Any]:
    """The token's header, before anything in it is believed.

    Raises:
        NotAuthenticated: it is no signed token, or signed in a way that we do not accept.
    """
    parts = token.split(".")
    try:
        encoded, _, _ = parts
        header = orjson.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except ValueError as error:
        raise NotAuthenticated("this is no token") from error
    if not isinstance(header, dict):
        raise NotAuthenticated("this is no token")
    if header.get("alg") not in ALGORITHMS:
        raise NotAuthenticated("the token is not signed in a way that is accepted here")
    kind = header.get("typ")
    if "crit" in header or not (kind is None or isinstance(kind, str)) or kind not in _TOKEN_TYPES:
        raise NotAuthenticated("this is no access token")
    return header


def _signing_key(found: dict[str, Any]) -> Key | None:
    """A key that signs; None for those that encrypt, and for kinds that we do not accept."""
    if found.get("use", "sig") != "sig" or found.get("kty") not in {"RSA", "EC"}:
        return None
    try:
        key = JWKRegistry.import_key(found)
    except (JoseError, ValueError) as error:
        logger.warning("a key of the issuer cannot be read: %s", error)
        return None
    return key if isinstance(key, RSAKey | ECKey) else None


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAuthenticated(f"the token has no usable {name!r}")
    return value


def _principal(claims: dict[str, Any], expires_at: float) -> Principal:
    subject = claims.get("sub")
    if not _is_name(subject):
        raise NotAuthenticated("the token does not say whom it is for")
    username = claims.get("preferred_username")
    access = claims.get("realm_access")
    return Principal(
        subject=str(subject),
        username=str(username) if _is_name(username) else str(subject),
        groups=_names(claims.get("groups")),
        roles=frozenset(_names(access.get("roles") if isinstance(access, dict) else None)),
        expires_at=expires_at,
    )


def _names(value: Any) -> tuple[str, ...]:
    """Each name once, in the token's order."""
    return tuple(dict.fromkeys(filter(_is_name, value))) if isinstance(value, list) else ()


def _is_name(value: Any) -> bool:
    """Whether it is text that the database can keep."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_NAME_CHARACTERS
        and not any("\ud800" <= sign <= "\udfff" for sign in value)
    )
