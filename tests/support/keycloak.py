"""A real Keycloak for tests, where STEMMA_TEST_KEYCLOAK_URL names one (``.ci/start-keycloak`` starts it).

The realm ``prov`` there is for reading; who changes anything takes :func:`fresh_realm`, a realm of its own.
"""

import base64
import html
import json
import os
import re
import secrets
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

REALM_FILE = Path(__file__).parents[2] / "keycloak" / "prov-realm.json"
SECRET = "example-service-secret"
_ADMINISTRATOR_SECONDS = 30
"""Keycloak gives its administrators tokens for a minute."""
_administrators: dict[str, tuple[float, str]] = {}
REDIRECT = "http://localhost:8000/docs/oauth2-redirect"


def keycloak_url() -> str:
    """Where Keycloak is; the test is skipped where there is none, and fails for that in CI."""
    url = os.environ.get("STEMMA_TEST_KEYCLOAK_URL")  # noqa: TID251 - tests are told of servers by the environment
    if url:
        return url.rstrip("/")
    if os.environ.get("CI"):  # noqa: TID251 - in CI nothing may be skipped
        pytest.fail("STEMMA_TEST_KEYCLOAK_URL is not set: in CI the tests with Keycloak must run")
    pytest.skip("STEMMA_TEST_KEYCLOAK_URL names no Keycloak")


def realm_document(name: str = "prov") -> dict[str, Any]:
    """The realm file under another name, with the secret that Keycloak's import would take from the environment."""
    text = REALM_FILE.read_text()
    placeholders = {
        "default-roles-prov": f"default-roles-{name}",
        "${STEMMA_SERVICE_CLIENT_SECRET}": SECRET,
        "${STEMMA_PUBLIC_URL:http://localhost:8000}": "http://localhost:8000",
    }
    for placeholder, value in placeholders.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    document: dict[str, Any] = json.loads(text)
    return document | {"realm": name}


@dataclass
class Realm:
    """A realm of the real server, as its people and its administrator see it."""

    server: str
    name: str
    kept: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        return f"{self.server}/realms/{self.name}"

    @property
    def protocol(self) -> str:
        return f"{self.url}/protocol/openid-connect"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of an installation whose people log in here."""
        return {"keycloak_server_url": self.server, "keycloak_realm": self.name}

    def ask_token(self, **form: str) -> httpx.Response:
        return httpx.post(f"{self.protocol}/token", data=form, timeout=60, trust_env=False)

    def login(self, username: str = "user_1", **form: str) -> dict[str, Any]:
        """The answer to a password: ``access_token``, ``refresh_token``, ``id_token``."""
        given = {
            "grant_type": "password",
            "client_id": "api",
            "scope": "openid",
            "username": username,
            "password": username.replace("user", "password"),
        }
        answer = self.ask_token(**(given | form))
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def tokens(self, username: str = "user_1") -> dict[str, Any]:
        """The same, of a login of before where there was one: passwords cost Keycloak much."""
        if username not in self.kept:
            self.kept[username] = self.login(username)
        return self.kept[username]

    def login_service(self) -> str:
        """The access token of the service account."""
        answer = self.ask_token(grant_type="client_credentials", client_id="service", client_secret=SECRET)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def admin(self, method: str, path: str = "", **given: Any) -> Any:
        """What the administrator is answered; ``path`` is below the realm's."""
        answer = administer(self.server, method, f"/{self.name}{path}", **given)
        return answer.json() if answer.content else None

    def client_id(self, name: str) -> str:
        return str(self.admin("GET", "/clients", params={"clientId": name})[0]["id"])

    def user_id(self, username: str) -> str:
        return str(self.admin("GET", "/users", params={"username": username, "exact": "true"})[0]["id"])

    def add_user(self, username: str, *roles: str) -> None:
        """Somebody who can log in with a password like those of the shipped people."""
        person = {
            "username": username, "firstName": "A", "lastName": "B", "email": f"{username}@example.org", "enabled": True,
            "credentials": [{"type": "password", "value": username.replace("user", "password")}],
        }  # fmt: skip
        self.admin("POST", "/users", json=person)
        given = [self.admin("GET", f"/roles/{role}") for role in roles]
        self.admin("POST", f"/users/{self.user_id(username)}/role-mappings/realm", json=given)

    def add_group(self, name: str, *members: str) -> str:
        """A group with members; its id."""
        self.admin("POST", "/groups", json={"name": name})
        found = self.admin("GET", "/groups", params={"search": name, "exact": "true"})
        group_id = str(found[0]["id"])
        for member in members:
            self.admin("PUT", f"/users/{self.user_id(member)}/groups/{group_id}")
        return group_id

    def leave_groups(self, username: str) -> None:
        user_id = self.user_id(username)
        for group in self.admin("GET", f"/users/{user_id}/groups"):
            self.admin("DELETE", f"/users/{user_id}/groups/{group['id']}")


def administer(server: str, method: str, path: str, **given: Any) -> httpx.Response:
    """An answer of Keycloak's administration, ``path`` being below that of all realms."""
    with httpx.Client(timeout=60, trust_env=False) as client:
        known = _administrators.get(server)
        if known is None or time.monotonic() - known[0] > _ADMINISTRATOR_SECONDS:
            form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
            answer = client.post(f"{server}/realms/master/protocol/openid-connect/token", data=form)
            _administrators[server] = known = (time.monotonic(), answer.json()["access_token"])
        headers = {"Authorization": f"Bearer {known[1]}"}
        answer = client.request(method, f"{server}/admin/realms{path}", headers=headers, **given)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer


def forget_administrator() -> None:
    """Let the next question log in anew: a token does not administer realms that were made after it."""
    _administrators.clear()


@contextmanager
def fresh_realm(document: dict[str, Any] | None = None) -> Iterator[Realm]:
    """A realm of one's own, as the realm file has it; gone afterwards. An empty ``document`` makes none."""
    realm = Realm(keycloak_url(), f"test-{uuid.uuid4().hex[:12]}")
    whole = realm_document(realm.name) if document is None else document
    if whole:
        administer(realm.server, "POST", "", json=whole)
    forget_administrator()
    try:
        yield realm
    finally:
        forget_administrator()
        with suppress(AssertionError):  # the test may have had none made
            realm.admin("DELETE")


class Browser:
    """Somebody who fills in Keycloak's pages."""

    def __init__(self) -> None:
        self.client = httpx.Client(timeout=60, trust_env=False, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def open(self, url: str, **params: str) -> httpx.Response:
        """The page at ``url``, or the first redirect that leaves Keycloak."""
        return self._follow(self.client.get(url, params=params or None))

    def submit(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """What comes after the form of ``page``."""
        found = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert found, page.text[:2000]
        return self._follow(self.client.post(str(page.url.join(html.unescape(found[1]))), data=fields))

    def _follow(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(10):
            for cookie in self.client.cookies.jar:  # browsers take this machine for safe without TLS, httpx does not
                cookie.secure = False
            target = answer.headers.get("location")
            if target is None or urlsplit(target).netloc not in {"", answer.url.netloc.decode()}:
                return answer
            answer = self.client.get(answer.url.join(target))
        raise AssertionError("too many redirects")


@dataclass(frozen=True)
class Proof:
    """A proof key (RFC 7636)."""

    verifier: str

    @classmethod
    def fresh(cls) -> "Proof":
        return cls(secrets.token_urlsafe(48))

    @property
    def challenge(self) -> dict[str, str]:
        digest = sha256(self.verifier.encode()).digest()
        return {
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
