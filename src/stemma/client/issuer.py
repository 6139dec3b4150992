"""Whoever gives the tokens: how a service names it, and how it is asked (RFC 6749, RFC 7009, RFC 8628)."""

import math
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from stemma.client.addresses import absolute, origin, service_address, trusted
from stemma.client.problems import LoginRefused, RateLimited, ServiceUnreachable, UnexpectedAnswer, problem
from stemma.client.shelf import KeptToken
from stemma.errors import StemmaError

_MARGIN_SECONDS: Final = 20.0
"""How long before its end a token is renewed."""
_LIFETIME_SECONDS: Final = 60.0
"""How long a token is good where nobody says."""
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,100000}=*")
"""What may stand in an Authorization header (RFC 6750 §2.1)."""
_METADATA: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class LoginWays:
    """Where and how a service's tokens are got. Every address in it may be given credentials."""

    url: str
    """The service."""
    issuer: str
    """What the tokens will say of where they come from."""
    client_id: str
    token_url: str
    authorization_url: str | None = None
    device_authorization_url: str | None = None
    is_own: bool = False
    """Whether the service gives its tokens itself: it has its known people, and no browser is needed."""


def login_ways(url: str, *, trusted_origins: Collection[str] = (), timeout_seconds: float = 30.0) -> LoginWays:
    """Ask the service at ``url`` where its tokens are got.

    Raises:
        UntrustedAddress: at an address that must not be given secrets; see :mod:`stemma.client.addresses`.
        ServiceUnreachable: nobody answers.
        UnexpectedAnswer: what answers is no service of ours.
    """
    from stemma.client.transport import ask  # noqa: PLC0415 - loads httpx, when somebody connects

    url = service_address(url)
    status, told = ask(f"{url}/login", timeout_seconds=timeout_seconds)
    if status != HTTPStatus.OK:
        raise problem(status, None, told)
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("client_id"), str):
        raise UnexpectedAnswer(f"{url} does not say how to log in; is its address right?")

    def place(name: str) -> str | None:
        return None if data.get(name) is None else trusted(data[name], url, trusted_origins)

    return LoginWays(
        url=url,
        issuer=str(data.get("issuer")),
        client_id=data["client_id"],
        token_url=trusted(data.get("token_url"), url, trusted_origins),
        authorization_url=place("authorization_url"),
        device_authorization_url=place("device_authorization_url"),
        is_own=str(data.get("token_url")).startswith("/"),
    )


@dataclass(frozen=True, slots=True)
class Issuer:
    """A token endpoint, and who we are there: a public client, or one with a secret."""

    token_url: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)

    def grant(self, **form: str) -> KeptToken:
        """A token for what ``form`` shows.

        Raises:
            LoginRefused: it is not enough.
            ServiceUnreachable, RateLimited: ask again later.
            UnexpectedAnswer: this is no token endpoint.
        """
        asked = time.time()
        told = self.post(self.token_url, form)
        token, kind, refresh = told.get("access_token"), told.get("token_type", "bearer"), told.get("refresh_token")
        if not isinstance(token, str) or not _BEARER.fullmatch(token) or str(kind).lower() != "bearer":
            raise UnexpectedAnswer(f"{self.token_url} gives no token that can be used")
        lifetime = seconds(told.get("expires_in"), _LIFETIME_SECONDS)
        renew_at = asked + lifetime - min(_MARGIN_SECONDS, lifetime / 4)
        return KeptToken(token, renew_at, refresh if isinstance(refresh, str) else None)

    def post(self, url: str, form: dict[str, str]) -> dict[str, Any]:
        """What the issuer answers to ``form``; see :meth:`grant`."""
        from stemma.client.transport import ask  # noqa: PLC0415 - loads httpx, when somebody connects

        if self.client_secret is None:
            status, told = ask(url, form={"client_id": self.client_id, **form})
        else:  # both parts are encoded before they are joined (RFC 6749 §2.3.1)
            basic = quote(self.client_id, safe=""), quote(self.client_secret, safe="")
            status, told = ask(url, form=form, basic=basic)
        answer: dict[str, Any] = told if isinstance(told, dict) else {}
        if status == HTTPStatus.OK:
            return answer
        raise _refusal(url, status, answer)

    def revoke(self, token: KeptToken, issuer: str) -> bool:
        """End the login that ``token`` is of (RFC 7009); whether the issuer can do that.

        Raises:
            StemmaError: it can, and did not.
        """
        place = self._revocation_url(issuer)
        if place is None or token.refresh_token is None:
            return False
        self.post(place, {"token": token.refresh_token, "token_type_hint": "refresh_token"})
        return True

    def _revocation_url(self, issuer: str) -> str | None:
        """As the issuer's own metadata say (RFC 8414 §2); None where there is no such thing."""
        from stemma.client.transport import ask  # noqa: PLC0415 - loads httpx, when somebody connects

        if origin(absolute(issuer, self.token_url)) != origin(self.token_url):
            return None  # its metadata would have to be asked for at an address that nobody trusted
        status, told = ask(f"{issuer.rstrip('/')}{_METADATA}")
        place = told.get("revocation_endpoint") if isinstance(told, dict) and status == HTTPStatus.OK else None
        return None if place is None else trusted(place, self.token_url)


def _refusal(url: str, status: int, answer: dict[str, Any]) -> StemmaError:
    described = answer.get("error_description") or answer.get("message")
    why = str(described) if described else None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(why or f"{url} answers nobody for a while; try again later")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServiceUnreachable(url, why or f"it answered {status}")
    if isinstance(answer.get("error"), str):
        return LoginRefused(answer["error"], why)
    return UnexpectedAnswer(f"{url} answered {status}, and not as an issuer of tokens does")


def seconds(told: Any, otherwise: float) -> float:
    """A duration that an issuer told; ``otherwise`` where that is none."""
    try:
        found = float(told)
    except (TypeError, ValueError):
        return otherwise
    return found if math.isfinite(found) and found >= 0 else otherwise
