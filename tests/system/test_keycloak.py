"""The service with a real Keycloak: who may log in how, which tokens hold, and what happens when Keycloak does not answer."""

import base64
import hmac
import http.server
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from conftest import Served, opened_installation, served_installation
from stemma import clock
from stemma.auth import tokens
from support.keycloak import REDIRECT, SECRET, Browser, Proof, Realm, fresh_realm, keycloak_url, query_of

TOOL = "{cwlVersion: v1.2, class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}"
ODD_GROUPS = ("a/b", '/half "price"', "🌧 rain", "it's")
CERTS = "/protocol/openid-connect/certs"


class Proxy:
    """Stands in front of Keycloak, counts what is asked of it, and can be stopped."""

    def __init__(self, target: str) -> None:
        self.asked: list[str] = []
        self._target = target
        self._server = self._listen(0)
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def _listen(self, port: int) -> http.server.ThreadingHTTPServer:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.asked.append(self.path)
                answer = httpx.get(f"{proxy._target}{self.path}", trust_env=False, timeout=60)
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, args=[0.02]).start()
        return server

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def start(self) -> None:
        self._server = self._listen(self.port)


@contextmanager
def proxied(realm: Realm, folder: Path) -> Iterator[tuple[Served, Proxy]]:
    """A service that reaches Keycloak through a proxy, while people reach it as it is."""
    proxy = Proxy(realm.server)
    with ExitStack() as stack:
        stack.callback(proxy.stop)
        given = realm.settings | {
            "keycloak_server_url": proxy.url,
            "keycloak_authorization_url": f"{realm.protocol}/auth",
        }
        installation = stack.enter_context(opened_installation("sqlite", folder, **given))
        yield stack.enter_context(served_installation(installation)), proxy


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    """A realm whose people and groups the tests leave as they are."""
    with fresh_realm() as made:
        made.add_group("both", "user_2")
        made.leave_groups("user_3")
        made.leave_groups("user_5")
        for name in ODD_GROUPS:
            made.add_group(name, "user_5")
        yield made


@pytest.fixture(scope="module")
def service(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        opened_installation("sqlite", tmp_path_factory.mktemp("keycloak"), **realm.settings) as installation,
        served_installation(installation) as served,
    ):
        yield served


@pytest.fixture
def behind(realm: Realm, tmp_path: Path) -> Iterator[tuple[Served, Proxy]]:
    with proxied(realm, tmp_path) as both:
        yield both


def asked(service: Served, token: str, path: str = "/whoami", **headers: str) -> httpx.Response:
    with service.client(Authorization=f"Bearer {token}", **headers) as client:
        return client.get(path)


def register(service: Served, token: str, **form: str) -> httpx.Response:
    with service.client(Authorization=f"Bearer {token}") as client:
        whole = {"name": service.name(), "version": "1", **form}
        return client.post("/workflow_registry/register", data=whole, files={"spec_file": ("main.cwl", TOOL)})


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    told: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return told


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def kid_of(token: str) -> str:
    head = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


# who people are


def test_whoami_when_logged_in_then_says_group_and_roles(service: Served, realm: Realm) -> None:
    told = asked(service, realm.tokens("user_1")["access_token"]).json()["data"]
    assert told["subject"] == realm.user_id("user_1")
    assert (told["username"], told["groups"]) == ("user_1", ["group1"])
    assert told["roles"] == ["reprov_admin", "reprov_user"]
    assert asked(service, realm.tokens("user_4")["access_token"]).json()["data"]["groups"] == ["group2"]


def test_register_when_in_several_groups_then_must_name_one(service: Served, realm: Realm) -> None:
    token = realm.tokens("user_2")["access_token"]
    assert sorted(asked(service, token).json()["data"]["groups"]) == ["both", "group1"]
    refused = register(service, token)
    assert (refused.status_code, "both, group1" in refused.json()["message"]) == (422, True)
    assert register(service, token, group="group2").status_code == 403
    assert register(service, token, group="both").status_code == 200


def test_list_when_in_no_group_then_is_empty_and_says_so(service: Served, realm: Realm) -> None:
    assert register(service, realm.tokens("user_1")["access_token"]).status_code == 200
    for token in (realm.tokens("user_3")["access_token"], realm.login_service()):
        told = asked(service, token).json()
        assert told["data"]["groups"] == []
        assert "you are in no group" in told["message"]
        assert asked(service, token, "/workflow_registry/").json()["data"]["items"] == []
        refused = register(service, token)
        assert (refused.status_code, "in no group" in refused.json()["message"]) == (422, True)


def test_whoami_when_a_program_logs_in_then_is_its_account(service: Served, realm: Realm) -> None:
    told = asked(service, realm.login_service()).json()["data"]
    assert (told["username"], told["roles"]) == ("service-account-service", ["reprov_user"])


def test_whoami_when_groups_have_odd_names_then_shows_them_as_they_are(service: Served, realm: Realm) -> None:
    token = realm.tokens("user_5")["access_token"]
    assert set(asked(service, token).json()["data"]["groups"]) == set(ODD_GROUPS)
    for group in ODD_GROUPS:
        answer = register(service, token, group=group)
        assert (answer.status_code, answer.json()["message"]) == (200, answer.json()["message"])
    listed = asked(service, token, "/workflow_registry/").json()["data"]["items"]
    assert {one["group"] for one in listed} == set(ODD_GROUPS)


def test_login_when_a_scope_would_write_roles_as_groups_then_keycloak_refuses(realm: Realm) -> None:
    """Keycloak's own scope ``microprofile-jwt`` writes roles into the claim that says who is in which group."""
    form = {"grant_type": "password", "client_id": "api", "username": "user_1", "password": "password_1"}
    for scope in ("openid microprofile-jwt", "openid offline_access"):
        assert realm.ask_token(**form, scope=scope).json()["error"] == "invalid_scope"


def test_login_when_the_password_is_wrong_too_often_then_even_the_right_one_waits(realm: Realm) -> None:
    realm.add_user("user_to_guess", "reprov_user")
    form = {"grant_type": "password", "client_id": "api", "username": "user_to_guess"}
    assert realm.ask_token(**form, password="password_to_guess").status_code == 200
    for number in range(11):
        assert realm.ask_token(**form, password=f"guess {number}").status_code == 401
    assert realm.ask_token(**form, password="password_to_guess").json()["error"] == "invalid_grant"


# tokens that do not hold


def hs256(realm: Realm, secret: Callable[[RSAKey, dict[str, Any]], bytes]) -> str:
    good = realm.tokens()["access_token"]
    keys = httpx.get(f"{realm.url}{CERTS}", trust_env=False).json()["keys"]
    jwk = next(key for key in keys if key["kid"] == kid_of(good))
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': jwk['kid']})}.{good.split('.')[1]}"
    mac = hmac.digest(secret(RSAKey.import_key(jwk), jwk), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def unsigned(realm: Realm, algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{realm.tokens()['access_token'].split('.')[1]}."


def forged(realm: Realm, **changed: Any) -> str:
    """Signed with a key of our own under the name of the realm's."""
    good = realm.tokens()["access_token"]
    key = RSAKey.generate_key(2048, {"kid": kid_of(good)})
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims_of(good) | changed, key)


def other_payload(realm: Realm) -> str:
    head, body, signature = realm.tokens("user_3")["access_token"].split(".")
    body = part(claims_of(f".{body}.") | {"groups": ["group1"]})
    return f"{head}.{body}.{signature}"


REFUSED: dict[str, Callable[[Realm], str]] = {
    "garbage": lambda _: "garbage",
    "three parts of garbage": lambda _: "a.b.c",
    "bytes": lambda _: base64.b64encode(secrets.token_bytes(300)).decode(),
    "alg none": lambda realm: unsigned(realm, "none"),
    "alg NONE": lambda realm: unsigned(realm, "NoNe"),
    "HS256 by the PEM": lambda realm: hs256(realm, lambda key, _: key.as_pem(private=False)),
    "HS256 by the DER": lambda realm: hs256(realm, lambda key, _: key.as_der(private=False)),
    "HS256 by the JWK": lambda realm: hs256(realm, lambda _, jwk: json.dumps(jwk).encode()),
    "HS256 by the modulus": lambda realm: hs256(realm, lambda _, jwk: jwk["n"].encode()),
    "id token": lambda realm: realm.tokens()["id_token"],
    "refresh token": lambda realm: realm.tokens()["refresh_token"],
    "a forged one": forged,
    "another payload": other_payload,
    "20 KB of claims": lambda realm: forged(realm, more="x" * 20_000),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_request_when_the_token_does_not_hold_then_401(
    service: Served, realm: Realm, make: Callable[[Realm], str]
) -> None:
    answer = asked(service, make(realm))
    assert (answer.status_code, answer.headers.get("www-authenticate")) == (401, "Bearer")
    assert answer.json()["success"] is False


def test_request_when_the_token_is_of_another_realm_then_401(service: Served, realm: Realm) -> None:
    answer = asked(service, Realm(realm.server, "prov").login()["access_token"])
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_request_when_the_token_has_100_kb_of_claims_then_is_refused_and_the_service_goes_on(
    service: Served, realm: Realm
) -> None:
    assert asked(service, forged(realm, more="x" * 100_000)).status_code == 401
    assert asked(service, realm.tokens()["access_token"]).status_code == 200


def test_request_when_the_token_is_meant_for_another_service_then_401(service: Served, realm: Realm) -> None:
    realm.admin("POST", "/clients", json={"clientId": "wiki", "publicClient": True, "directAccessGrantsEnabled": True})
    answer = asked(service, realm.login(client_id="wiki")["access_token"])
    assert (answer.status_code, "another service" in answer.json()["message"]) == (401, True)


def test_request_when_the_issuer_is_another_of_the_same_key_then_401(service: Served, realm: Realm) -> None:
    """Keycloak names the host that it was asked by; here that is not the one that people use."""
    other = Realm(realm.server.replace("localhost", "127.0.0.1"), realm.name).login()["access_token"]
    assert claims_of(other)["iss"] != realm.url
    answer = asked(service, other)
    assert (answer.status_code, "another issuer" in answer.json()["message"]) == (401, True)


def test_request_when_the_token_has_expired_then_401(
    service: Served, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = realm.tokens()["access_token"]
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now().replace(year=now().year + 1))
    answer = asked(service, token)
    assert (answer.status_code, "expired" in answer.json()["message"]) == (401, True)


def test_request_when_a_group_is_taken_away_then_the_next_token_says_so(service: Served, realm: Realm) -> None:
    realm.add_user("user_who_leaves", "reprov_user")
    realm.add_group("left soon", "user_who_leaves")
    first = realm.login("user_who_leaves")
    assert asked(service, first["access_token"]).json()["data"]["groups"] == ["left soon"]
    realm.leave_groups("user_who_leaves")
    form = {"grant_type": "refresh_token", "client_id": "api", "refresh_token": first["refresh_token"]}
    renewed = realm.ask_token(**form).json()["access_token"]
    assert asked(service, renewed).json()["data"]["groups"] == []
    assert asked(service, first["access_token"]).json()["data"]["groups"] == ["left soon"]


# keys


def test_requests_when_tokens_hold_then_keycloak_is_asked_once(behind: tuple[Served, Proxy], realm: Realm) -> None:
    service, proxy = behind
    given = [realm.tokens(f"user_{number}")["access_token"] for number in (1, 2, 3)]
    for number in range(100):
        assert asked(service, given[number % 3]).status_code == 200
    assert proxy.asked == [f"/realms/{realm.name}{CERTS}"]


def test_requests_when_ten_thousand_name_unknown_keys_then_keycloak_is_asked_some_times_at_most(
    behind: tuple[Served, Proxy], realm: Realm
) -> None:
    service, proxy = behind
    good = realm.tokens()["access_token"]
    _, body, signature = good.split(".")
    began = time.monotonic()
    with service.client() as client:
        for number in range(10_000):
            head = part({"alg": "RS256", "typ": "JWT", "kid": f"unknown-{number}"})
            answer = client.get("/whoami", headers={"Authorization": f"Bearer {head}.{body}.{signature}"})
            assert answer.status_code == 401
    took = time.monotonic() - began
    assert len(proxy.asked) <= 1 + took / tokens.REFRESH_SECONDS
    assert asked(service, good).status_code == 200


def rotate(own: Realm, priority: int) -> None:
    """Let the realm sign with a new key; the old one stays to verify."""
    provider = {
        "name": f"key-{priority}", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
        "config": {"priority": [str(priority)], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]},
    }  # fmt: skip
    own.admin("POST", "/components", json=provider)


def withdraw(own: Realm, kid: str) -> None:
    """Take a key from the realm."""
    provider = next(key["providerId"] for key in own.admin("GET", "/keys")["keys"] if key["kid"] == kid)
    own.admin("DELETE", f"/components/{provider}")


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_keys_when_rotated_then_old_and_new_tokens_hold_until_the_old_key_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "REFRESH_SECONDS", 0.2)
    monkeypatch.setattr(tokens, "REMEMBERED_SECONDS", 0.2)
    with fresh_realm() as own, proxied(own, tmp_path) as (service, _):
        old, old_too = own.login("user_1")["access_token"], own.login("user_2")["access_token"]
        assert asked(service, old).status_code == 200
        rotate(own, 1000)
        new = own.login("user_1")["access_token"]
        assert kid_of(new) != kid_of(old)
        assert eventually(lambda: asked(service, new).status_code == 200)
        assert [asked(service, token).status_code for token in (old, old_too)] == [200, 200]
        withdraw(own, kid_of(old))
        monkeypatch.setattr(tokens, "KEYS_SECONDS", 0.2)
        assert eventually(lambda: asked(service, old).status_code == 401)
        assert [asked(service, token).status_code for token in (old_too, new)] == [401, 200]


# Keycloak is silent


def test_keycloak_when_it_stops_then_who_is_logged_in_goes_on(behind: tuple[Served, Proxy], realm: Realm) -> None:
    service, proxy = behind
    seen, unseen = realm.tokens("user_1")["access_token"], realm.tokens("user_2")["access_token"]
    assert asked(service, seen).status_code == 200
    proxy.stop()
    try:
        assert asked(service, seen).status_code == 200
        assert asked(service, unseen).json()["data"]["username"] == "user_2"
        with service.client() as client:
            assert eventually(lambda: client.get("/readyz").json()["data"]["login"] == "unavailable")
            ready = client.get("/readyz")
        assert (ready.status_code, "nobody can log in" in ready.json()["message"]) == (200, True)
    finally:
        proxy.start()
    with service.client() as client:
        assert eventually(lambda: client.get("/readyz").json()["data"]["login"] == "ready")


def test_keycloak_when_it_was_never_there_then_503_until_it_is(
    behind: tuple[Served, Proxy], realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "REFRESH_SECONDS", 0.2)
    service, proxy = behind
    token = realm.tokens()["access_token"]
    proxy.stop()
    try:
        answer = asked(service, token)
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        with service.client() as client:
            assert client.get("/readyz").status_code == 503
        assert asked(service, "garbage").status_code == 401
    finally:
        proxy.start()
    assert eventually(lambda: asked(service, token).status_code == 200)


# the ways to log in


def code_of(realm: Realm, browser: Browser, **params: str) -> dict[str, str]:
    """What Keycloak gives the page back after a login."""
    asked_for = {
        "client_id": "api", "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid", "state": "s", **params,
    }  # fmt: skip
    page = browser.open(f"{realm.protocol}/auth", **asked_for)
    if "location" not in page.headers:
        page = browser.submit(page, username="user_1", password="password_1")
    return query_of(page.headers["location"])


def test_code_flow_when_with_pkce_then_the_token_holds(service: Served, realm: Realm) -> None:
    proof = Proof.fresh()
    form = {"grant_type": "authorization_code", "client_id": "api", "redirect_uri": REDIRECT}
    with Browser() as browser:
        given = code_of(realm, browser, **proof.challenge)
        answer = realm.ask_token(**form, code=given["code"], code_verifier=proof.verifier)
    assert asked(service, answer.json()["access_token"]).json()["data"]["username"] == "user_1"


def test_code_flow_when_the_proof_is_missing_or_another_then_no_token(realm: Realm) -> None:
    form = {"grant_type": "authorization_code", "client_id": "api", "redirect_uri": REDIRECT}
    for more in ({}, {"code_verifier": Proof.fresh().verifier}):
        with Browser() as browser:
            given = code_of(realm, browser, **Proof.fresh().challenge)
            answer = realm.ask_token(**form, code=given["code"], **more)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("challenge", [{}, {"code_challenge": "c" * 43, "code_challenge_method": "plain"}])
def test_code_flow_when_without_pkce_then_is_refused(realm: Realm, challenge: dict[str, str]) -> None:
    with Browser() as browser:
        given = code_of(realm, browser, **challenge)
    assert (given["error"], "code" in given) == ("invalid_request", False)


def test_code_flow_when_it_leads_elsewhere_then_is_refused(realm: Realm) -> None:
    with Browser() as browser:
        params = {"client_id": "api", "response_type": "code", **Proof.fresh().challenge}
        page = browser.open(f"{realm.protocol}/auth", redirect_uri="https://evil.example.org/", **params)
    assert (page.status_code, "redirect_uri" in page.text) == (400, True)


def test_device_flow_when_somebody_confirms_then_the_token_holds(service: Served, realm: Realm) -> None:
    proof = Proof.fresh()
    start = {"client_id": "api", "scope": "openid", **proof.challenge}
    begun = httpx.post(f"{realm.protocol}/auth/device", data=start, timeout=60, trust_env=False).json()
    poll = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "api",
        "device_code": begun["device_code"],
        "code_verifier": proof.verifier,
    }
    assert realm.ask_token(**poll).json()["error"] == "authorization_pending"
    with Browser() as browser:
        page = browser.open(begun["verification_uri_complete"])
        page = browser.submit(page, username="user_4", password="password_4")
        done = browser.submit(page, accept="Yes")
    assert done.status_code == 200
    time.sleep(begun["interval"])  # Keycloak refuses who asks more often
    answer = realm.ask_token(**poll)
    assert asked(service, answer.json()["access_token"]).json()["data"]["username"] == "user_4"


def test_device_flow_when_without_pkce_then_is_refused(realm: Realm) -> None:
    answer = httpx.post(f"{realm.protocol}/auth/device", data={"client_id": "api"}, timeout=60, trust_env=False)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_service_account_when_the_secret_is_wrong_then_no_token(realm: Realm) -> None:
    form = {"grant_type": "client_credentials", "client_id": "service"}
    assert realm.ask_token(**form, client_secret=SECRET).status_code == 200
    assert realm.ask_token(**form, client_secret="guess").status_code == 401
    assert realm.ask_token(grant_type="client_credentials", client_id="api").status_code in {400, 401}


def test_ways_when_asked_then_are_those_of_keycloak(service: Served, realm: Realm) -> None:
    told = httpx.get(f"{realm.url}/.well-known/openid-configuration", trust_env=False).json()
    with service.client() as client:
        shown = client.get("/login").json()["data"]
        scheme = client.get("/openapi.json").json()["components"]["securitySchemes"]["login"]
    assert (shown["issuer"], shown["token_url"]) == (told["issuer"], told["token_endpoint"])
    assert shown["device_authorization_url"] == told["device_authorization_endpoint"]
    assert scheme["flows"]["authorizationCode"]["authorizationUrl"] == told["authorization_endpoint"]
    assert keycloak_url() in shown["issuer"]
