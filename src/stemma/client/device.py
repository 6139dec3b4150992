"""The device flow (RFC 8628): a person logs in with a browser, anywhere; the program waits for it."""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from stemma.client.addresses import trusted
from stemma.client.issuer import LoginWays, seconds
from stemma.client.problems import LoginRefused, ServiceUnreachable, UnexpectedAnswer
from stemma.client.shelf import KeptToken, TokenShelf
from stemma.client.tokens import SCOPE, KeptTokens
from stemma.errors import InvalidRequest, Unavailable

_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL_SECONDS: Final = 5.0
"""Between two questions, where nobody says; and by how much more where it was too often (RFC 8628 §3.5)."""
_LONGEST_INTERVAL_SECONDS: Final = 60.0
_LIFETIME_SECONDS: Final = 600.0
_LONGEST_LIFETIME_SECONDS: Final = 3600.0
_LONGEST_CODE: Final = 40


@dataclass(frozen=True, slots=True)
class DevicePrompt:
    """What a person needs to know to log in."""

    url: str
    """Where to go."""
    code: str
    """What to type there."""
    whole_url: str | None
    """An address that has the code in it already."""
    lasts_seconds: float
    """How long there is time for it."""


class DeviceTokens(KeptTokens):
    """Tokens of a person who logs in with a browser. No password comes near this program.

    Args:
        url: the service.
        tell: shows the person where to go and what to type there; it returns at once.
        pause: waits for so many seconds between two questions; what it raises ends the login.
        ways, client_id, shelf, trusted_origins: see :class:`KeptTokens`.
    """

    def __init__(
        self,
        url: str,
        tell: Callable[[DevicePrompt], None],
        *,
        pause: Callable[[float], object] = time.sleep,
        ways: LoginWays | None = None,
        client_id: str | None = None,
        shelf: TokenShelf | None = None,
        trusted_origins: Collection[str] = (),
    ) -> None:
        super().__init__(url, ways=ways, client_id=client_id, shelf=shelf, trusted_origins=trusted_origins)
        self._tell, self._pause = tell, pause

    def _first(self, *, has_ended: bool) -> KeptToken:  # noqa: ARG002 - whoever is asked can log in again
        place = self._found().device_authorization_url
        if place is None:
            raise InvalidRequest(f"{self._url} has no login with a browser; give a user name and a password")
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        # PKCE (RFC 7636) is no part of RFC 8628; Keycloak wants it of clients that must use it, others pass over it.
        asked = {"scope": SCOPE, "code_challenge": challenge, "code_challenge_method": "S256"}
        told = self._issuer().post(place, asked)
        prompt, device_code = self._prompt(told)
        interval = min(max(seconds(told.get("interval"), _INTERVAL_SECONDS), 1.0), _LONGEST_INTERVAL_SECONDS)
        self._tell(prompt)
        return self._waited_for(device_code, verifier, interval, prompt.lasts_seconds)

    def _prompt(self, told: dict[str, Any]) -> tuple[DevicePrompt, str]:
        code, device_code = told.get("user_code"), told.get("device_code")
        if not isinstance(code, str) or not isinstance(device_code, str) or not code.isprintable():
            raise UnexpectedAnswer(f"{self._url}: the issuer gives no code to log in with")
        lasts = min(seconds(told.get("expires_in"), _LIFETIME_SECONDS), _LONGEST_LIFETIME_SECONDS)

        def page(name: str) -> str | None:  # a person types a password there
            return None if told.get(name) is None else trusted(told[name], self._url, self._trusted_origins)

        url = page("verification_uri")
        if url is None or len(code) > _LONGEST_CODE:
            raise UnexpectedAnswer(f"{self._url}: the issuer does not say where to log in")
        return DevicePrompt(url, code, page("verification_uri_complete"), lasts), device_code

    def _waited_for(self, device_code: str, verifier: str, interval: float, lasts_seconds: float) -> KeptToken:
        deadline = time.monotonic() + lasts_seconds
        unreachable: Unavailable | None = None
        while time.monotonic() < deadline:
            self._pause(interval)
            try:
                return self._issuer().grant(grant_type=_GRANT, device_code=device_code, code_verifier=verifier)
            except LoginRefused as refusal:
                unreachable = None
                if refusal.error == "slow_down":
                    interval += _INTERVAL_SECONDS
                elif refusal.error == "expired_token":
                    break
                elif refusal.error == "access_denied":
                    raise LoginRefused("access_denied", "it was denied in the browser") from refusal
                elif refusal.error != "authorization_pending":
                    raise
            except Unavailable as error:  # it may come back while the person is still at it
                unreachable, interval = error, min(interval * 2, _LONGEST_INTERVAL_SECONDS)
        if unreachable is not None:
            raise ServiceUnreachable(self._url, str(unreachable)) from unreachable
        raise LoginRefused("expired_token", "nobody logged in in time; try again")
