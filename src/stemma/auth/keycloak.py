"""Keycloak as an issuer: where its keys and its pages are. Its keys are asked for, never on a request's way."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from stemma.errors import Unavailable
from stemma.settings import Settings

_TIMEOUT_SECONDS: Final = 5.0
_LARGEST_ANSWER: Final = 1024 * 1024
_PROTOCOL: Final = "/protocol/openid-connect"


class IdentityUnavailable(Unavailable):
    """Keycloak does not answer; who logged in before goes on."""

    code: ClassVar[str] = "identity-unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__("the login service does not answer; try again in some seconds")
        self.reason = reason


class KeycloakRealm:
    """A realm of a Keycloak server: the addresses that the settings name or imply, and its public keys."""

    def __init__(self, settings: Settings, server_url: str) -> None:
        self._realm_url = f"{server_url.rstrip('/')}/realms/{settings.keycloak_realm}"
        seen = settings.keycloak_authorization_url or f"{self._realm_url}{_PROTOCOL}/auth"
        self.authorization_url = seen
        self.issuer = settings.issuer or seen.partition(_PROTOCOL)[0]
        """What tokens say of where they come from (OpenID Connect Core §2, ``iss``)."""
        self.token_url = settings.keycloak_token_url or f"{self.issuer}{_PROTOCOL}/token"
        self.device_authorization_url = f"{self.issuer}{_PROTOCOL}/auth/device"

    def fetch(self) -> Sequence[dict[str, Any]]:
        """The realm's keys, asked for now.

        Raises:
            IdentityUnavailable: Keycloak does not answer, or not with keys.
        """
        import httpx  # noqa: PLC0415 - an installation with the local issuer never asks

        url = f"{self._realm_url}{_PROTOCOL}/certs"
        try:
            with httpx.stream("GET", url, timeout=_TIMEOUT_SECONDS) as answer:
                answer.raise_for_status()
                body = b""
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _LARGEST_ANSWER:
                        raise IdentityUnavailable(f"{url} answers with more than {_LARGEST_ANSWER} bytes")
            found = httpx.Response(200, content=body).json()["keys"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise IdentityUnavailable(f"{url}: {str(error) or type(error).__name__}") from error
        return [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []
