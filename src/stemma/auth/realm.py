"""What we need of a Keycloak realm, said once; :mod:`stemma.auth.realm_check` compares a realm with it.

``keycloak/prov-realm.json`` is a realm that is as said here, with people for a first look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlsplit

from stemma.auth.exposure import is_loopback
from stemma.auth.policy import ADMIN, USER
from stemma.auth.tokens import ALGORITHMS
from stemma.settings import Settings

SERVICE_CLIENT: Final = "service"
"""The client that programs log in with."""
GROUPS_CLAIM: Final = "groups"
ROLES: Final = {
    USER: "Register workflows, run them, read what the group has",
    ADMIN: "Delete what the group has, beside all that a user may",
}
SCOPES: Final = ("basic", "roles", "profile", "web-origins")
"""Keycloak's scopes that bring ``sub``, ``realm_access``, ``preferred_username`` and the origins of pages."""
REDIRECT_PATH: Final = "/docs/oauth2-redirect"
LONGEST_TOKEN_SECONDS: Final = 3600
"""A token that lives longer would believe in roles and groups that were taken away too long ago."""
TOKEN_SECONDS: Final = 900
SECRET_PLACEHOLDER: Final = "${STEMMA_SERVICE_CLIENT_SECRET}"  # noqa: S105 - what stands in the realm file for one
_SESSION_SECONDS: Final = 8 * 3600

REALM: Final[Mapping[str, Any]] = {
    "displayName": "Provenance of workflows",
    "enabled": True,
    "bruteForceProtected": True,
    "failureFactor": 10,
    "accessTokenLifespan": TOKEN_SECONDS,
    "ssoSessionIdleTimeout": _SESSION_SECONDS,
    "ssoSessionMaxLifespan": 3 * _SESSION_SECONDS,
}
"""A new realm; of one that there is, less is asked."""

_TOKEN_ATTRIBUTES: Final[Mapping[str, Sequence[str | None]]] = {
    "access.token.signed.response.alg": (ALGORITHMS[0], *ALGORITHMS[1:], "", None),
    "client.use.lightweight.access.token.enabled": ("false", "", None),
    "dpop.bound.access.tokens": ("false", "", None),
}
"""What would make other tokens than the ones that are verified here."""


@dataclass(frozen=True, slots=True)
class Mapper:
    """A protocol mapper: what writes a claim into a token."""

    name: str
    kind: str
    config: Mapping[str, str]

    def fits(self, found: Mapping[str, Any]) -> bool:
        """Whether ``found``, of Keycloak's, does what this one does."""
        config = found.get("config") or {}
        return found.get("protocolMapper") == self.kind and all(config.get(k) == v for k, v in self.config.items())

    def as_json(self) -> dict[str, Any]:
        """As Keycloak takes it."""
        return {
            "name": self.name,
            "protocol": "openid-connect",
            "protocolMapper": self.kind,
            "config": {"id.token.claim": "false", **self.config},
        }


GROUPS: Final = Mapper(
    "groups",
    "oidc-group-membership-mapper",
    {"claim.name": GROUPS_CLAIM, "full.path": "false", "access.token.claim": "true"},
)


def audience(client: str) -> Mapper:
    """What writes ``client`` into a token's ``aud``."""
    config = {"included.client.audience": client, "access.token.claim": "true"}
    return Mapper("audience", "oidc-audience-mapper", config)


@dataclass(frozen=True, slots=True)
class ClientNeeds:
    """What a client must be."""

    name: str
    title: str
    fields: Mapping[str, Any]
    """Fields of Keycloak's representation, and their values."""
    attributes: Mapping[str, Sequence[str | None]]
    """Attributes, and the values that they may have, the one to set first; None where they may be missing."""
    mappers: Sequence[Mapper]
    redirect: str | None = None
    """Where a browser must be able to come back to."""
    secret: str | None = field(default=None, repr=False)
    """The secret of a client that is made; without one Keycloak chooses it."""

    def as_json(self) -> dict[str, Any]:
        """A new client, as Keycloak takes it."""
        made: dict[str, Any] = {"clientId": self.name, "name": self.title, "enabled": True, **self.fields}
        made["attributes"] = {name: values[0] for name, values in self.attributes.items() if None not in values}
        made["protocolMappers"] = [mapper.as_json() for mapper in self.mappers]
        if self.redirect is not None:
            made |= {"redirectUris": [self.redirect], "webOrigins": ["+"]}
        if self.secret is not None:
            made["secret"] = self.secret
        return made


@dataclass(frozen=True, slots=True)
class RealmNeeds:
    """What the realm must be for an installation."""

    name: str
    api: ClientNeeds
    service: ClientNeeds
    is_exposed: bool
    """Whether others than the people of this machine reach the service: nothing that everybody knows may work then."""
    public_secrets: frozenset[str]
    """Secrets of the client ``service`` that everybody knows."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What an installation with ``settings`` needs."""
        public = settings.public_url.rstrip("/")
        is_exposed = not is_loopback(urlsplit(public).hostname or "")
        example = (Settings.model_fields["service_client_secret"].examples or [""])[0]
        known = frozenset({SECRET_PLACEHOLDER, *([str(example)] if is_exposed else [])})
        mappers = (GROUPS, audience(settings.keycloak_client_id))
        own = settings.keycloak_client_secret.get_secret_value() if settings.keycloak_client_secret else None
        given = settings.service_client_secret.get_secret_value() if settings.service_client_secret else None
        common = {"protocol": "openid-connect", "implicitFlowEnabled": False, "fullScopeAllowed": False}
        api = ClientNeeds(
            settings.keycloak_client_id,
            "Stemma",
            {**common, "publicClient": own is None, "standardFlowEnabled": True}
            | ({"directAccessGrantsEnabled": False} if is_exposed else {}),
            {
                "pkce.code.challenge.method": ("S256",),
                "oauth2.device.authorization.grant.enabled": ("true",),
                **_TOKEN_ATTRIBUTES,
            },
            mappers,
            redirect=f"{public}{REDIRECT_PATH}",
            secret=own,
        )
        service = ClientNeeds(
            SERVICE_CLIENT,
            "Programs",
            {
                **common,
                "publicClient": False,
                "standardFlowEnabled": False,
                "directAccessGrantsEnabled": False,
                "serviceAccountsEnabled": True,
            },
            _TOKEN_ATTRIBUTES,
            mappers,
            secret=given if given not in known else None,
        )
        return cls(settings.keycloak_realm, api, service, is_exposed, known)
