"""``stemma realm check|apply`` against a real Keycloak: what is broken is found, and put right."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import httpx
import pytest

from stemma.auth.keycloak import KeycloakRealm
from stemma.auth.realm import RealmNeeds
from stemma.auth.realm_check import Flaw, RealmCheck
from stemma.auth.realm_server import AdministratorRefused, KeycloakUnreachable, RealmNotConfigured, RealmServer
from stemma.auth.tokens import Verifier
from stemma.settings import Settings
from support.keycloak import Realm, forget_administrator, fresh_realm, realm_document

PUBLIC = "https://stemma.example.org"


@pytest.fixture(scope="module")
def shared() -> Iterator[Realm]:
    with fresh_realm() as realm:
        yield realm


@pytest.fixture
def realm(shared: Realm) -> Realm:
    """A realm that is as it must be; tests break it one at a time."""
    assert not held(shared).apply().left
    return shared


@pytest.fixture
def own() -> Iterator[Realm]:
    """A realm for one test."""
    with fresh_realm() as made:
        yield made


def settings(realm: Realm, **more: Any) -> Settings:
    given = {"keycloak_admin_username": "admin", "keycloak_admin_password": "admin", **realm.settings, **more}
    return Settings(_env_file=None, **given)


@cache
def server_of(name: str, server: str) -> RealmServer:
    """One login for many looks: passwords cost Keycloak much."""
    return RealmServer(settings(Realm(server, name)))


def held(realm: Realm, *, disables_examples: bool = False, **more: Any) -> RealmCheck:
    needs = RealmNeeds.of(settings(realm, **more))
    return RealmCheck(server_of(realm.name, realm.server), needs, disables_examples=disables_examples)


def places(flaws: list[Flaw]) -> set[tuple[str, str]]:
    return {(flaw.subject, flaw.aspect) for flaw in flaws}


def change_client(realm: Realm, name: str = "api", attributes: dict[str, str] | None = None, **fields: Any) -> None:
    path = f"/clients/{realm.client_id(name)}"
    whole = realm.admin("GET", path) | fields
    whole["attributes"] |= attributes or {}
    realm.admin("PUT", path, json=whole)


def drop_mapper(realm: Realm, name: str, mapper: str) -> None:
    path = f"/clients/{realm.client_id(name)}/protocol-mappers/models"
    found = next(one for one in realm.admin("GET", path) if one["name"] == mapper)
    realm.admin("DELETE", f"{path}/{found['id']}")


def write_full_paths(realm: Realm) -> None:
    path = f"/clients/{realm.client_id('api')}/protocol-mappers/models"
    found = next(one for one in realm.admin("GET", path) if one["name"] == "groups")
    found["config"]["full.path"] = "true"
    realm.admin("PUT", f"{path}/{found['id']}", json=found)


def scope_id(realm: Realm, name: str) -> str:
    return next(str(scope["id"]) for scope in realm.admin("GET", "/client-scopes") if scope["name"] == name)


def forget_roles(realm: Realm) -> None:
    path = f"/clients/{realm.client_id('api')}/scope-mappings/realm"
    realm.admin("DELETE", path, json=realm.admin("GET", path))


BREAKAGES: list[tuple[str, Callable[[Realm], Any], set[tuple[str, str]]]] = [
    ("no groups", lambda r: drop_mapper(r, "api", "groups"), {("client api", "mapper groups")}),
    ("no groups of programs", lambda r: drop_mapper(r, "service", "groups"), {("client service", "mapper groups")}),
    ("groups with their paths", write_full_paths, {("client api", "mapper groups")}),
    ("no audience", lambda r: drop_mapper(r, "api", "audience"), {("client api", "mapper audience")}),
    (
        "no PKCE",
        lambda r: change_client(r, attributes={"pkce.code.challenge.method": ""}),
        {("client api", "pkce.code.challenge.method")},
    ),
    (
        "plain PKCE",
        lambda r: change_client(r, attributes={"pkce.code.challenge.method": "plain"}),
        {("client api", "pkce.code.challenge.method")},
    ),
    (
        "no device flow",
        lambda r: change_client(r, attributes={"oauth2.device.authorization.grant.enabled": "false"}),
        {("client api", "oauth2.device.authorization.grant.enabled")},
    ),
    (
        "light tokens",
        lambda r: change_client(r, attributes={"client.use.lightweight.access.token.enabled": "true"}),
        {("client api", "client.use.lightweight.access.token.enabled")},
    ),
    (
        "tokens signed otherwise",
        lambda r: change_client(r, attributes={"access.token.signed.response.alg": "PS256"}),
        {("client api", "access.token.signed.response.alg")},
    ),
    (
        "no way back",
        lambda r: change_client(r, redirectUris=["http://localhost:1234/x"]),
        {("client api", "redirectUris")},
    ),
    ("any way back", lambda r: change_client(r, redirectUris=["*"]), {("client api", "redirectUris")}),
    (
        "a way back to anybody",
        lambda r: change_client(r, redirectUris=["http://localhost*"]),
        {("client api", "redirectUris")},
    ),
    ("no origins", lambda r: change_client(r, webOrigins=[]), {("client api", "webOrigins")}),
    ("any origin", lambda r: change_client(r, webOrigins=["*"]), {("client api", "webOrigins")}),
    ("implicit flow", lambda r: change_client(r, implicitFlowEnabled=True), {("client api", "implicitFlowEnabled")}),
    ("not public", lambda r: change_client(r, publicClient=False), {("client api", "publicClient")}),
    ("every role", lambda r: change_client(r, fullScopeAllowed=True), {("client api", "fullScopeAllowed")}),
    ("no roles", forget_roles, {("client api", "roles in its tokens")}),
    (
        "no service accounts",
        lambda r: change_client(r, "service", serviceAccountsEnabled=False),
        {("client service", "serviceAccountsEnabled")},
    ),
    (
        "a secret that is none",
        lambda r: change_client(r, "service", secret="${STEMMA_SERVICE_CLIENT_SECRET}"),
        {("client service", "secret")},
    ),
    (
        "no subject",
        lambda r: r.admin("DELETE", f"/clients/{r.client_id('api')}/default-client-scopes/{scope_id(r, 'basic')}"),
        {("client api", "scope basic")},
    ),
    (
        "roles as groups",
        lambda r: r.admin(
            "PUT", f"/clients/{r.client_id('api')}/optional-client-scopes/{scope_id(r, 'microprofile-jwt')}"
        ),
        {("client api", "scope microprofile-jwt")},
    ),
    (
        "no role",
        lambda r: r.admin("DELETE", "/roles/reprov_admin"),
        {
            ("role reprov_admin", "the role"),
            ("client api", "roles in its tokens"),
            ("client service", "roles in its tokens"),
        },
    ),
    ("no client", lambda r: r.admin("DELETE", f"/clients/{r.client_id('api')}"), {("client api", "the client")}),
    (
        "no brute force protection",
        lambda r: r.admin("PUT", json={"bruteForceProtected": False}),
        {("realm", "bruteForceProtected")},
    ),
    (
        "tokens for a day",
        lambda r: r.admin("PUT", json={"accessTokenLifespan": 86400}),
        {("realm", "accessTokenLifespan")},
    ),
    (
        "a secret signs",
        lambda r: r.admin("PUT", json={"defaultSignatureAlgorithm": "HS512"}),
        {("realm", "defaultSignatureAlgorithm")},
    ),
]


def test_check_when_the_realm_is_that_of_the_file_then_fits(own: Realm) -> None:
    assert held(own).flaws() == []


@pytest.mark.parametrize(("harm", "wanted"), [case[1:] for case in BREAKAGES], ids=[case[0] for case in BREAKAGES])
def test_apply_when_something_is_broken_then_finds_and_mends_it(
    realm: Realm, harm: Callable[[Realm], Any], wanted: set[tuple[str, str]]
) -> None:
    harm(realm)
    named = {(f"realm {realm.name}" if where == "realm" else where, what) for where, what in wanted}
    assert places(held(realm).flaws()) == named
    done = held(realm).apply()
    assert places(list(done.changed)) >= named
    assert list(done.left) == []
    assert held(realm).flaws() == []


def test_apply_when_done_twice_then_changes_nothing(realm: Realm) -> None:
    before = [realm.admin("GET"), *(realm.admin("GET", f"/clients/{realm.client_id(n)}") for n in ("api", "service"))]
    assert held(realm).apply().changed == []
    after = [realm.admin("GET"), *(realm.admin("GET", f"/clients/{realm.client_id(n)}") for n in ("api", "service"))]
    assert before == after


def test_apply_when_there_is_no_realm_then_makes_one_that_people_can_use() -> None:
    with fresh_realm({}) as realm:
        assert places(held(realm).flaws()) == {(f"realm {realm.name}", "the realm")}
        done = held(realm, service_client_secret="a secret of our own").apply()
        assert list(done.left) == []
        forget_administrator()
        realm.add_user("user_ada", "reprov_user")
        realm.add_group("analysts", "user_ada")
        verifier = Verifier(KeycloakRealm(settings(realm), realm.server))
        change_client(realm, directAccessGrantsEnabled=True)
        principal = verifier.verify(realm.login("user_ada")["access_token"])
        assert (principal.username, principal.groups, principal.roles) == ("user_ada", ("analysts",), {"reprov_user"})
        form = {"grant_type": "client_credentials", "client_id": "service", "client_secret": "a secret of our own"}
        program = verifier.verify(realm.ask_token(**form).json()["access_token"])
        assert (program.groups, program.roles) == ((), {"reprov_user"})


def test_apply_when_run_then_leaves_people_groups_and_other_clients_alone(realm: Realm) -> None:
    realm.admin("POST", "/clients", json={"clientId": "grafana", "redirectUris": ["*"], "implicitFlowEnabled": True})
    kept = ["http://localhost:8000/docs/oauth2-redirect", "https://elsewhere.example.org/back"]
    change_client(realm, redirectUris=kept, attributes={"pkce.code.challenge.method": "plain"}, description="ours")
    paths = ["/users", "/groups", f"/clients/{realm.client_id('grafana')}"]
    before = [realm.admin("GET", path) for path in paths]
    assert held(realm).apply().changed
    assert [realm.admin("GET", path) for path in paths] == before
    api = realm.admin("GET", f"/clients/{realm.client_id('api')}")
    assert (sorted(api["redirectUris"]), api["description"]) == (kept, "ours")
    assert realm.login("user_2")["access_token"]


def test_check_when_a_group_lies_in_another_then_is_for_a_person_to_decide(realm: Realm) -> None:
    parent = realm.add_group("institute")
    realm.admin("POST", f"/groups/{parent}/children", json={"name": "group1"})
    try:
        done = held(realm).apply()
    finally:
        realm.admin("DELETE", f"/groups/{parent}")
    assert (list(done.changed), places(list(done.left))) == ([], {("group institute", "groups in it")})


def test_apply_when_others_reach_the_service_then_nothing_works_that_everybody_knows(own: Realm) -> None:
    user = own.user_id("user_5")
    own.admin("PUT", f"/users/{user}/reset-password", json={"type": "password", "value": "another"})
    own.admin("DELETE", f"/users/{own.user_id('user_4')}")
    people = {(f"user user_{number}", "password") for number in (1, 2, 3)}
    done = held(own, public_url=PUBLIC).apply()
    assert places(list(done.changed)) == {
        ("client api", "directAccessGrantsEnabled"), ("client api", "redirectUris"), ("client service", "secret"),
    }  # fmt: skip
    assert places(list(done.left)) == people
    assert own.admin("GET", f"/attack-detection/brute-force/users/{user}")["numFailures"] == 0
    assert own.admin("GET", f"/users/{own.user_id('user_1')}")["enabled"]

    done = held(own, public_url=PUBLIC, disables_examples=True).apply()
    assert (places(list(done.changed)), list(done.left)) == (people, [])
    first = own.admin("GET", f"/users/{own.user_id('user_1')}")
    assert (first["enabled"], first["email"], first["lastName"]) == (False, "user_1@example.org", "One")
    assert own.admin("GET", f"/users/{user}")["enabled"]
    refused = own.ask_token(grant_type="password", client_id="api", username="user_5", password="another")
    assert refused.json()["error"] == "unauthorized_client"
    known = own.ask_token(grant_type="client_credentials", client_id="service", client_secret="example-service-secret")
    assert known.status_code == 401


def test_check_when_no_password_can_be_tried_then_says_that_it_may_be_known(realm: Realm) -> None:
    change_client(realm, "admin-cli", directAccessGrantsEnabled=False)
    try:
        found = {flaw.subject: flaw.found for flaw in held(realm, public_url=PUBLIC).flaws()}
    finally:
        change_client(realm, "admin-cli", directAccessGrantsEnabled=True)
    assert found["user user_2"] == "may be one that everybody knows"


def test_open_when_the_administrator_is_not_let_in_then_says_so(realm: Realm) -> None:
    with pytest.raises(AdministratorRefused, match="KEYCLOAK_ADMIN_PASSWORD"):
        RealmServer(settings(realm, keycloak_admin_password="wrong"))
    with pytest.raises(RealmNotConfigured, match="KEYCLOAK_ADMIN_USERNAME"):
        RealmServer(settings(realm, keycloak_admin_username=None))


def test_open_when_nothing_or_something_else_answers_then_says_so(realm: Realm) -> None:
    with pytest.raises(KeycloakUnreachable, match="localhost:1"):
        RealmServer(settings(realm, keycloak_server_url="http://localhost:1/"))
    with pytest.raises(KeycloakUnreachable):
        RealmServer(settings(realm, keycloak_server_url=f"{realm.server}/no-such-place"))


def test_check_when_the_account_is_no_administrator_then_says_so(realm: Realm) -> None:
    name = f"user_{realm.name}"
    master = Realm(realm.server, "master")
    master.add_user(name)
    password = f"password_{realm.name}"
    try:
        with pytest.raises(AdministratorRefused, match="may not administer"):
            RealmServer(settings(realm, keycloak_admin_username=name, keycloak_admin_password=password)).find_realm()
    finally:
        master.admin("DELETE", f"/users/{master.user_id(name)}")


def stemma(realm: Realm, *arguments: str, folder: Any) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEMMA_", "KEYCLOAK_"))}  # noqa: TID251 - filtered, for a process of its own
    environment = {
        **kept, "STEMMA_HOME": str(folder), "NO_COLOR": "1", "KEYCLOAK_SERVER_URL": realm.server,
        "KEYCLOAK_REALM": realm.name, "KEYCLOAK_ADMIN_USERNAME": "admin", "KEYCLOAK_ADMIN_PASSWORD": "admin",
    }  # fmt: skip
    command = [sys.executable, "-m", "stemma.cli", "realm", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_command_line_when_the_realm_is_unfit_then_shows_it_and_mends_it(realm: Realm, tmp_path: Any) -> None:
    drop_mapper(realm, "api", "groups")
    shown = stemma(realm, "check", folder=tmp_path)
    assert shown.returncode == 78
    assert "client api" in shown.stdout
    assert "stemma realm apply" in shown.stdout
    as_json = stemma(realm, "check", "--json", folder=tmp_path)
    assert as_json.returncode == 78
    told = json.loads(as_json.stdout)
    assert (told["fits"], told["findings"][0]["aspect"]) == (False, "mapper groups")
    mended = stemma(realm, "apply", folder=tmp_path)
    assert (mended.returncode, "mapper groups: there" in mended.stderr) == (0, True)
    again = stemma(realm, "apply", "--json", folder=tmp_path)
    assert (again.returncode, json.loads(again.stdout)) == (0, {"fits": True, "changed": [], "findings": []})


def test_realm_file_when_imported_at_the_start_then_takes_the_secret_from_the_environment(realm: Realm) -> None:
    """The shared realm ``prov`` was imported by ``.ci/start-keycloak``, not through the administration."""
    assert Realm(realm.server, "prov").login_service()


def test_realm_file_when_read_then_is_short_and_has_no_secret() -> None:
    document = realm_document()
    assert len(document["clients"]) == 2
    assert {user["username"] for user in document["users"]} >= {f"user_{number}" for number in range(1, 6)}


def test_discovery_when_asked_then_has_the_addresses_that_we_derive(realm: Realm) -> None:
    told = httpx.get(f"{realm.url}/.well-known/openid-configuration", trust_env=False).json()
    derived = KeycloakRealm(settings(realm), realm.server)
    assert derived.issuer == told["issuer"]
    assert derived.token_url == told["token_endpoint"]
    assert derived.authorization_url == told["authorization_endpoint"]
    assert derived.device_authorization_url == told["device_authorization_endpoint"]
