"""Compares a realm with what we need of it, and puts right what can be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from stemma.auth.local_issuer import USERS
from stemma.auth.policy import USER
from stemma.auth.realm import (
    GROUPS,
    GROUPS_CLAIM,
    LONGEST_TOKEN_SECONDS,
    REALM,
    ROLES,
    SCOPES,
    TOKEN_SECONDS,
    ClientNeeds,
    Mapper,
    RealmNeeds,
)
from stemma.auth.realm_server import RealmServer
from stemma.auth.tokens import ALGORITHMS

_ROUNDS: Final = 5
"""Putting something right can let more be seen: a realm that is made has clients to look at."""
_ENABLE: Final = "enable it in Keycloak's console, if nobody shut it on purpose"
_TO_THE_TOP: Final = "move them to the top: tokens do not say where a group lies, so two could be taken for one"
_TRIED_CLIENT: Final = "admin-cli"
"""Keycloak makes it in every realm, and it takes passwords."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something about the realm that is not as it must be."""

    subject: str
    aspect: str
    found: str
    wanted: str
    remedy: str
    """What a person can do about it."""
    put_right: Callable[[], Any] | None = field(default=None, compare=False, repr=False)
    """Does it, where that takes no decision of a person."""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        names = ("subject", "aspect", "found", "wanted", "remedy")
        return {name: getattr(self, name) for name in names} | {"can_be_applied": self.put_right is not None}


@dataclass(frozen=True, slots=True)
class Applied:
    """What :meth:`RealmCheck.apply` did, and what is left for a person."""

    changed: Sequence[Flaw]
    left: Sequence[Flaw]


class RealmCheck:
    """A realm held against our needs."""

    def __init__(self, server: RealmServer, needs: RealmNeeds, *, disables_examples: bool = False) -> None:
        self._server = server
        self._needs = needs
        self._disables_examples = disables_examples

    def flaws(self) -> list[Flaw]:
        """What is not as it must be; nothing is changed."""
        realm = self._server.find_realm()
        if realm is None:
            where = f"realm {self._needs.name}"
            return [_flaw(where, "the realm", "missing", "there", partial(self._server.create_realm, REALM))]
        found = [*self._realm(realm), *self._roles(), *self._clients(), *self._groups(), *self._examples()]
        return found or list(self._tokens())

    def apply(self) -> Applied:
        """Put right what can be put right without a person's decision."""
        changed: list[Flaw] = []
        left = self.flaws()
        for _ in range(_ROUNDS):
            fixable = [flaw for flaw in left if flaw.put_right is not None]
            if not fixable:
                break
            for flaw in fixable:
                assert flaw.put_right is not None  # noqa: S101 - it was asked just above
                flaw.put_right()
                changed.append(flaw)
            left = self.flaws()
        return Applied(changed, left)

    def _realm(self, realm: Mapping[str, Any]) -> Iterator[Flaw]:
        where = f"realm {self._needs.name}"
        if not realm.get("enabled"):
            yield _flaw(where, "enabled", "no", "yes", remedy=_ENABLE)
        if not realm.get("bruteForceProtected"):
            yield self._realm_flaw("bruteForceProtected", "no", "yes", value=True)
        if realm.get("accessTokenLifespan", 0) > LONGEST_TOKEN_SECONDS:
            found, wanted = f"{realm['accessTokenLifespan']} s", f"{LONGEST_TOKEN_SECONDS} s at most"
            yield self._realm_flaw("accessTokenLifespan", found, wanted, value=TOKEN_SECONDS)
        algorithm = realm.get("defaultSignatureAlgorithm") or ALGORITHMS[0]
        if algorithm not in ALGORITHMS:
            wanted = " or ".join(ALGORITHMS)
            yield self._realm_flaw("defaultSignatureAlgorithm", str(algorithm), wanted, value=ALGORITHMS[0])
        if self._needs.is_exposed and realm.get("sslRequired") == "none":
            yield self._realm_flaw("sslRequired", "none", "external", value="external")

    def _realm_flaw(self, name: str, found: str, wanted: str, *, value: Any) -> Flaw:
        change = partial(self._server.change_realm, {name: value})
        return _flaw(f"realm {self._needs.name}", name, found, wanted, change)

    def _roles(self) -> Iterator[Flaw]:
        there = self._server.role_names()
        for name, description in ROLES.items():
            if name not in there:
                create = partial(self._server.create_role, name, description)
                yield _flaw(f"role {name}", "the role", "missing", "there", create)

    def _clients(self) -> Iterator[Flaw]:
        scopes = self._server.scopes()
        for needs in (self._needs.api, self._needs.service):
            client = self._server.find_client(needs.name)
            if client is None:
                create = partial(self._create_client, needs)
                yield _flaw(f"client {needs.name}", "the client", "missing", "there", create)
                continue
            yield from _ClientCheck(self._server, needs, client, scopes).flaws()
            if needs is self._needs.service:
                yield from self._secret(client)

    def _create_client(self, needs: ClientNeeds) -> None:
        client_id = self._server.create_client(needs.as_json())
        if needs.fields.get("serviceAccountsEnabled"):
            self._server.give_role(self._server.service_account(client_id)["id"], USER)

    def _secret(self, client: Mapping[str, Any]) -> Iterator[Flaw]:
        if client.get("secret") not in self._needs.public_secrets:
            return
        chosen = self._needs.service.secret
        change = (
            partial(self._server.renew_secret, client["id"])
            if chosen is None
            else partial(self._server.change_client, client["id"], {"secret": chosen})
        )
        wanted = "one that Keycloak chooses" if chosen is None else "STEMMA_SERVICE_CLIENT_SECRET"
        yield _flaw(f"client {client['clientId']}", "secret", "one that everybody knows", wanted, change)

    def _groups(self) -> Iterator[Flaw]:
        for group in self._server.groups():
            inner = group.get("subGroupCount") or len(group.get("subGroups") or ())
            if inner:
                yield _flaw(
                    f"group {group['name']}",
                    "groups in it",
                    str(inner),
                    "0",
                    remedy=_TO_THE_TOP,
                )

    def _examples(self) -> Iterator[Flaw]:
        """People whose passwords everybody can read in the realm file."""
        for person in USERS.values() if self._needs.is_exposed else ():
            user = self._server.find_user(person.username)
            if user is None or not user.get("enabled"):
                continue
            known = self._server.has_password(user, person.password, _TRIED_CLIENT)
            if known is False:
                continue
            yield _flaw(
                f"user {person.username}",
                "password",
                "one that everybody knows" if known else "may be one that everybody knows",
                "another, or no such user",
                partial(self._server.disable_user, user["id"]) if self._disables_examples else None,
                remedy="stemma realm apply --disable-example-users, or give them another password",
            )

    def _tokens(self) -> Iterator[Flaw]:
        """What a token says in the end, looked at where nothing else is wrong."""
        service = self._server.find_client(self._needs.service.name)
        if service is None:
            return
        account = self._server.service_account(service["id"])
        for needs in (self._needs.api, self._needs.service):
            client = self._server.find_client(needs.name)
            claims = {} if client is None else self._server.example_token(client["id"], account["id"])
            audience = claims.get("aud", [])
            audience = [audience] if isinstance(audience, str) else audience
            wanted = {
                "typ": claims.get("typ") == "Bearer",
                "sub": bool(claims.get("sub")),
                "preferred_username": bool(claims.get("preferred_username")),
                "aud": self._needs.api.name in audience,
            }
            for name, is_right in wanted.items():
                if not is_right:
                    remedy = "look for the mapper of this claim in the client's scopes, in Keycloak's console"
                    found = str(claims.get(name, "missing"))
                    yield _flaw(f"tokens of {needs.name}", name, found, _WANTED_CLAIMS[name], remedy=remedy)


_WANTED_CLAIMS: Final = {
    "typ": "Bearer",
    "sub": "whom it is for",
    "preferred_username": "the user's name",
    "aud": "the client that people log in with",
}


class _ClientCheck:
    """A client held against our needs."""

    def __init__(
        self, server: RealmServer, needs: ClientNeeds, client: dict[str, Any], scopes: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._server = server
        self._needs = needs
        self._client = client
        self._scopes = scopes
        self._id = str(client["id"])
        self._where = f"client {needs.name}"

    def flaws(self) -> Iterator[Flaw]:
        """What is not as it must be."""
        if not self._client.get("enabled"):
            yield _flaw(self._where, "enabled", "no", "yes", remedy=_ENABLE)
        yield from self._fields()
        yield from self._attributes()
        yield from self._addresses()
        yield from self._default_scopes()
        yield from self._strays()
        yield from self._mappers()
        yield from self._roles()

    def _fields(self) -> Iterator[Flaw]:
        for name, value in self._needs.fields.items():
            found = self._client.get(name)
            if found != value:
                change = partial(self._server.change_client, self._id, {name: value})
                yield _flaw(self._where, name, _shown(found), _shown(value), change)

    def _attributes(self) -> Iterator[Flaw]:
        attributes = self._client.get("attributes") or {}
        for name, values in self._needs.attributes.items():
            found = attributes.get(name)
            if found not in values:
                change = partial(self._server.change_client, self._id, {}, {name: str(values[0])})
                yield _flaw(self._where, name, _shown(found), _shown(values[0]), change)

    def _addresses(self) -> Iterator[Flaw]:
        wanted = self._needs.redirect
        if wanted is None:
            return
        kept = [uri for uri in self._client.get("redirectUris") or [] if not _is_anywhere(uri)]
        for uri in self._client.get("redirectUris") or []:
            if _is_anywhere(uri):
                change = partial(self._server.change_client, self._id, {"redirectUris": kept})
                yield _flaw(self._where, "redirectUris", uri, "no server that anybody may have", change)
        if not any(_covers(uri, wanted) for uri in kept):
            change = partial(self._server.change_client, self._id, {"redirectUris": [*kept, wanted]})
            yield _flaw(self._where, "redirectUris", _shown(kept), wanted, change)
        origins = [origin for origin in self._client.get("webOrigins") or [] if origin != "*"]
        parts = urlsplit(wanted)
        own = f"{parts.scheme}://{parts.netloc}"
        if "*" in (self._client.get("webOrigins") or []):
            change = partial(self._server.change_client, self._id, {"webOrigins": origins})
            yield _flaw(self._where, "webOrigins", "*", "+", change)
        if "+" not in origins and own not in origins:
            change = partial(self._server.change_client, self._id, {"webOrigins": [*origins, "+"]})
            yield _flaw(self._where, "webOrigins", _shown(origins), "+", change)

    def _default_scopes(self) -> Iterator[Flaw]:
        there = self._client.get("defaultClientScopes") or []
        for name in SCOPES:
            if name in there:
                continue
            scope = self._scopes.get(name)
            add = None if scope is None else partial(self._make_default, name, str(scope["id"]))
            remedy = "" if scope else "make the client scope anew, as a new realm of Keycloak has it"
            yield _flaw(
                self._where, f"scope {name}", "missing" if scope else "not in the realm", "default", add, remedy=remedy
            )

    def _make_default(self, name: str, scope_id: str) -> None:
        if name in (self._client.get("optionalClientScopes") or []):
            self._server.remove_scope(self._id, scope_id, is_optional=True)
        self._server.add_scope(self._id, scope_id)

    def _strays(self) -> Iterator[Flaw]:
        """Mappers that write something else into the claim that says in which groups somebody is.

        Keycloak's own scope ``microprofile-jwt`` does: it writes roles there, for whoever asks for that scope.
        """
        for mapper in self._client.get("protocolMappers") or []:
            if _writes_groups(mapper):
                remove = partial(self._server.remove_mapper, self._id, str(mapper["id"]))
                yield _flaw(self._where, f"mapper {mapper['name']}", "writes other groups", "no such mapper", remove)
        for is_optional, kind in ((False, "defaultClientScopes"), (True, "optionalClientScopes")):
            for name in self._client.get(kind) or []:
                scope = self._scopes.get(name, {})
                if any(map(_writes_groups, scope.get("protocolMappers") or [])):
                    remove = partial(self._server.remove_scope, self._id, str(scope["id"]), is_optional=is_optional)
                    yield _flaw(self._where, f"scope {name}", "writes other groups", "not with this client", remove)

    def _mappers(self) -> Iterator[Flaw]:
        own = self._client.get("protocolMappers") or []
        assigned = [self._scopes.get(name, {}) for name in self._client.get("defaultClientScopes") or []]
        all_of_them = [*own, *(mapper for scope in assigned for mapper in scope.get("protocolMappers") or [])]
        for mapper in self._needs.mappers:
            if not any(map(mapper.fits, all_of_them)):
                add = partial(self._put_mapper, mapper)
                yield _flaw(self._where, f"mapper {mapper.name}", "missing", "there", add)

    def _put_mapper(self, mapper: Mapper) -> None:
        for found in (self._server.find_client(self._needs.name) or {}).get("protocolMappers", []):
            if found["name"] == mapper.name:
                self._server.remove_mapper(self._id, str(found["id"]))
        self._server.add_mapper(self._id, mapper.as_json())

    def _roles(self) -> Iterator[Flaw]:
        missing = sorted(set(ROLES) - self._server.roles_in_tokens(self._id))
        if missing:
            add = partial(self._server.add_roles_to_tokens, self._id, missing)
            yield _flaw(self._where, "roles in its tokens", f"without {', '.join(missing)}", ", ".join(ROLES), add)


def _flaw(
    where: str, aspect: str, found: str, wanted: str, put_right: Callable[[], Any] | None = None, *, remedy: str = ""
) -> Flaw:
    return Flaw(where, aspect, found, wanted, remedy or "stemma realm apply", put_right)


def _writes_groups(mapper: Mapping[str, Any]) -> bool:
    """Whether it writes the claim ``groups``, and not with what it should say."""
    config = mapper.get("config") or {}
    return (
        config.get("claim.name") == GROUPS_CLAIM
        and config.get("access.token.claim") == "true"
        and not GROUPS.fits(mapper)
    )


def _is_anywhere(uri: str) -> bool:
    """Whether a pattern of addresses has room for servers that anybody may have."""
    return uri == "*" or "*" in urlsplit(uri).netloc


def _covers(pattern: str, uri: str) -> bool:
    """Whether Keycloak takes ``uri`` for one of ``pattern``: only a star at the end means anything."""
    return uri.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == uri


def _shown(value: Any) -> str:
    if value is None or value in ("", []):
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
