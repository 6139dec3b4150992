"""``stemma login``, ``logout`` and ``whoami`` in real processes, at a real Keycloak and at the local issuer."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

from conftest import opened_installation, served_installation
from stemma.client import (
    Client,
    ClientCredentials,
    DeviceTokens,
    FileShelf,
    KeptTokens,
    LoginRefused,
    NotLoggedIn,
    PasswordTokens,
    login_ways,
)
from support.keycloak import SECRET, Browser, Realm, keycloak_url


class Person:
    """Somebody with a home of their own, and the command."""

    def __init__(self, folder, **more):
        self.home = folder / "person"
        self.home.mkdir(parents=True)
        kept = {
            name: value
            for name, value in os.environ.items()  # noqa: TID251 - filtered, for a process of its own
            if not name.startswith(("STEMMA_", "XDG_", "KEYCLOAK_"))
        }
        base = {"STEMMA_HOME": str(folder / "none"), "HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "300"}
        self.environment = {**kept, **base, **more}

    def start(self, *arguments):
        command = [sys.executable, "-m", "stemma.cli", *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments, code=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (process.returncode, out, err)
        return out, err

    def whoami(self, *arguments):
        return json.loads(self("whoami", "--json", *arguments)[0])

    def kept(self, name):
        """What lies in a file of the login; None where there is none."""
        found = list(self.home.rglob(name))
        return json.loads(found[0].read_text()) if found else None


@pytest.fixture
def person(tmp_path):
    return Person(tmp_path)


@pytest.fixture(scope="module")
def realm():
    """The shipped realm; nothing in it is changed but the sessions that are made here."""
    return Realm(keycloak_url(), "prov")


@pytest.fixture(scope="module")
def service(realm, tmp_path_factory):
    """A service whose people log in at Keycloak."""
    folder = tmp_path_factory.mktemp("keycloak")
    with (
        opened_installation("sqlite", folder, **realm.settings) as installation,
        served_installation(installation) as up,
    ):
        yield up


@contextmanager
def logged_in_by_device(person, url, username, *, answer="Yes"):
    """The process of a login that somebody confirms, or denies, in a browser."""
    process = person.start("login", url)
    page = next(found[1] for line in process.stderr if (found := re.search(r"open +(\S+)", line)))
    code = next(found[1] for line in process.stderr if (found := re.search(r"code +(\S+)", line)))
    assert code in page
    with Browser() as browser:
        shown = browser.submit(browser.open(page), username=username, password=username.replace("user", "password"))
        browser.submit(shown, **{"accept" if answer == "Yes" else "cancel": answer})
    yield process
    process.communicate(timeout=60)


def test_login_when_confirmed_in_a_browser_then_commands_work_until_logout(service, realm, person):
    with logged_in_by_device(person, service.url, "user_4") as process:
        assert "logged in at" in process.stderr.read()
    assert process.returncode == 0
    told = person.whoami()
    assert (told["username"], told["groups"], told["service"]) == ("user_4", ["group2"], service.url)
    files = [path for path in person.home.rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    token = person.kept("token.json")
    _, err = person("logout")
    assert "at the issuer" in err
    assert person.kept("token.json") is None
    form = {"grant_type": "refresh_token", "client_id": "api", "refresh_token": token["refresh_token"]}
    assert realm.ask_token(**form).json()["error"] == "invalid_grant"
    assert "nobody was logged in" in person("logout")[1]


def test_login_when_denied_in_a_browser_then_says_so_and_keeps_nothing(service, person):
    with logged_in_by_device(person, service.url, "user_4", answer="No") as process:
        assert "denied" in process.stderr.read()
    assert process.returncode == 77
    assert person.kept("token.json") is None


def test_login_when_a_name_is_given_then_is_with_a_password_and_renewed_without(service, person):
    person.environment["STEMMA_PASSWORD"] = "password_2"
    assert "user_2 (group1)" in person("login", service.url, "--user", "user_2")[1]
    del person.environment["STEMMA_PASSWORD"]
    path = next(person.home.rglob("token.json"))
    spent = json.loads(path.read_text()) | {"renew_at": 0}
    path.write_text(json.dumps(spent))
    assert person.whoami()["username"] == "user_2"
    renewed = person.kept("token.json")
    assert renewed["renew_at"] > time.time()
    assert renewed["refresh_token"] != spent["refresh_token"]
    assert renewed["access_token"] != spent["access_token"]


def test_login_when_ended_elsewhere_then_says_how_to_log_in_again(service, realm, person):
    person.environment["STEMMA_PASSWORD"] = "password_3"
    person("login", service.url, "--user", "user_3")
    del person.environment["STEMMA_PASSWORD"]
    path = next(person.home.rglob("token.json"))
    form = {"client_id": "api", "refresh_token": json.loads(path.read_text())["refresh_token"]}
    assert httpx.post(f"{realm.protocol}/logout", data=form, timeout=60, trust_env=False).status_code == 204
    path.write_text(json.dumps(json.loads(path.read_text()) | {"renew_at": 0}))
    _, err = person("whoami", code=77)
    assert f"log in again: stemma login {service.url}" in err


def test_login_when_refused_then_the_login_before_stays(service, person):
    person.environment["STEMMA_PASSWORD"] = "password_2"
    person("login", service.url, "--user", "user_2")
    person.environment["STEMMA_PASSWORD"] = "wrong"
    _, err = person("login", service.url, "--user", "user_5", code=77)
    assert "login was refused" in err
    del person.environment["STEMMA_PASSWORD"]
    assert person.whoami()["username"] == "user_2"


def test_command_when_nobody_is_logged_in_then_says_how(service, person):
    person.environment["STEMMA_URL"] = service.url
    _, err = person("run", "list", code=77)
    assert f"you are not logged in at {service.url}; log in: stemma login {service.url}" in err


def test_program_when_it_logs_in_then_is_somebody_of_its_own(service, person):
    person.environment["STEMMA_CLIENT_SECRET"] = SECRET
    person("login", service.url, "--client-id", "service")
    assert person.whoami()["username"] == "service-account-service"
    assert SECRET not in "".join(path.read_text() for path in person.home.rglob("*.json"))
    path = next(person.home.rglob("token.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"renew_at": 0}))
    assert person.whoami()["username"] == "service-account-service"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"renew_at": 0}))
    del person.environment["STEMMA_CLIENT_SECRET"]
    _, err = person("whoami", code=77)
    assert "set STEMMA_CLIENT_SECRET" in err


def test_program_when_its_settings_are_there_then_needs_no_login(service, person):
    person.environment |= {
        "STEMMA_URL": service.url,
        "STEMMA_CLIENT_ID": "service",
        "STEMMA_CLIENT_SECRET": SECRET,
    }
    assert person.whoami()["username"] == "service-account-service"
    assert person.kept("token.json") is None
    person.environment["STEMMA_CLIENT_SECRET"] = "wrong"
    assert "login was refused" in person("whoami", code=77)[1]


def test_login_at_the_local_issuer_when_done_then_is_as_ever(served, person):
    person.environment["STEMMA_PASSWORD"] = "password_4"
    person("login", served.url, "--user", "user_4")
    del person.environment["STEMMA_PASSWORD"]
    assert person.whoami()["groups"] == ["group2"]
    assert person.whoami("--url", f"{served.url}/")["username"] == "user_4"
    assert person("logout")[1] == "logged out\n"
    _, err = person("login", served.url, "--url", "http://localhost:9", code=64)
    assert "one service" in err
    _, err = person("login", "localhost", code=64)
    assert "begins with http" in err


def test_token_of_a_login_when_another_service_is_named_then_does_not_go_there(served, service, person):
    person.environment["STEMMA_PASSWORD"] = "password_2"
    person("login", service.url, "--user", "user_2")
    del person.environment["STEMMA_PASSWORD"]
    _, err = person("whoami", "--url", served.url, code=77)
    assert f"stemma login {served.url}" in err


def test_device_tokens_when_keycloak_says_slow_down_then_ask_less_often(service):
    pauses, prompts = [], []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            with Browser() as browser:
                page = browser.submit(browser.open(prompts[0].whole_url), username="user_1", password="password_1")
                browser.submit(page, accept="Yes")
            time.sleep(seconds)

    with Client(service.url, DeviceTokens(service.url, prompts.append, pause=pause)) as client:
        assert client.whoami()["username"] == "user_1"
    assert pauses[:3] == [5, 5, 10]


def test_tokens_when_refreshed_and_revoked_at_keycloak_then_are_new_and_then_over(service, tmp_path):
    shelf = FileShelf(tmp_path / "token.json")
    tokens = PasswordTokens(service.url, "user_1", "password_1", shelf=shelf)
    first = tokens.access_token()
    tokens.renew(first)
    assert tokens.access_token() != first
    kept = shelf.load()
    with Client(service.url, tokens) as client:
        assert client.whoami()["username"] == "user_1"
    assert tokens.revoke()
    assert shelf.load() is None
    shelf.keep(kept)
    others = KeptTokens(service.url, shelf=shelf)
    others.renew(kept.access_token)
    with pytest.raises(NotLoggedIn, match="log in again"):
        others.access_token()


def test_client_credentials_when_the_secret_is_wrong_then_is_refused(service):
    ways = login_ways(service.url)
    assert not ways.is_own
    assert ClientCredentials(service.url, "service", SECRET, ways=ways).access_token()
    with pytest.raises(LoginRefused):
        ClientCredentials(service.url, "service", "wrong", ways=ways).access_token()
