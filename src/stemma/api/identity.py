"""Who gives the tokens here: Keycloak where one is set up, else the local issuer. The verification is the same."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from stemma.auth.keycloak import KeycloakRealm
from stemma.auth.local_issuer import CLIENT, LocalIssuer
from stemma.auth.tokens import Verifier
from stemma.settings import Settings

SCHEME: Final = "login"
"""What the OpenAPI document calls the way to log in."""
_LOCAL_TOKEN_PATH: Final = "/auth/token"  # noqa: S105 - a path, no secret


@dataclass(frozen=True, slots=True)
class Identity:
    """The issuer of this installation, and where clients find it."""

    verifier: Verifier
    issuer: str
    client_id: str
    token_url: str
    authorization_url: str | None = None
    device_authorization_url: str | None = None
    local: LocalIssuer | None = None
    """The issuer itself, where it is ours."""

    @classmethod
    def of(cls, settings: Settings) -> "Identity":
        """The one that the settings name."""
        if settings.keycloak_server_url is None:
            local = LocalIssuer(settings)
            return cls(Verifier(local), local.issuer, CLIENT, _LOCAL_TOKEN_PATH, local=local)
        realm = KeycloakRealm(settings, settings.keycloak_server_url)
        return cls(
            Verifier(realm, audience=settings.keycloak_client_id),
            realm.issuer,
            settings.keycloak_client_id,
            realm.token_url,
            realm.authorization_url,
            realm.device_authorization_url,
        )

    @property
    def origins(self) -> tuple[str, ...]:
        """Other servers that the page of the documentation asks for tokens (RFC 6454 §4)."""
        if self.local is not None:
            return ()
        parts = urlsplit(self.token_url)
        return (f"{parts.scheme}://{parts.netloc}",)

    def security_scheme(self) -> dict[str, Any]:
        """The way to log in, as OpenAPI says it (3.1.0 §4.8.27)."""
        if self.authorization_url is None:
            flow = {"tokenUrl": self.token_url, "refreshUrl": self.token_url, "scopes": {}}
            return {"type": "oauth2", "description": "username and password", "flows": {"password": flow}}
        flow = {
            "authorizationUrl": self.authorization_url,
            "tokenUrl": self.token_url,
            "refreshUrl": self.token_url,
            "scopes": {"openid": "who you are"},
        }
        return {"type": "oauth2", "description": "at Keycloak", "flows": {"authorizationCode": flow}}
