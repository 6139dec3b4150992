"""``stemma engine`` as people use it: real processes on a data folder, with an engine of others installed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Served, opened_installation, served_installation
from stemma.client import Client, GivenToken
from stemma.engines.protocol import Owner
from stemma.errors import CredentialNotFound, EngineNotFound, Forbidden, NotFound
from support.installed_engines import installed_engines
from support.terminal import Person

SECRET = "geheim-4711-ganz"
ENGINE = """
from support.scripted_engine import ScriptedEngine

class WithAccounts(ScriptedEngine):
    def acting_for(self, owner):
        return self

def make(context):
    return WithAccounts(context.name, is_remote=True)

def broken(context):
    raise ValueError("geheim")
"""
ENTRIES = {"vault": "engine_of_tests:make", "broken": "engine_of_tests:broken"}


def at_terminal(served: Served, folder: Path, name: str) -> Person:
    return Person(served, folder, name, "engine", secret=SECRET)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("engine-command")
    with (
        installed_engines(folder / "packages", {"engine_of_tests": ENGINE}, ENTRIES),
        opened_installation("sqlite", folder / "home") as installation,
        served_installation(installation) as served,
    ):
        yield served


def used(served: Served, username: str, group: str = "group1") -> str | None:
    with served.client_as(username) as client:
        subject = client.get("/whoami").json()["data"]["subject"]
    found = served.installation.credentials.find("vault", Owner(subject, group))
    return None if found is None else found.get_secret_value()


def test_login_when_the_token_is_on_standard_input_then_it_is_used_until_logout(
    service: Served, tmp_path: Path
) -> None:
    person = at_terminal(service, tmp_path, "user_2")
    _, said = person("login", "vault", "--token-stdin", given=f"{SECRET}\n")
    assert "runs of yours on vault are done with that token from now on" in said
    assert used(service, "user_2") == SECRET
    [vault] = [one for one in json.loads(person("list", "--json")[0]) if one["name"] == "vault"]
    assert [one["scope"] for one in vault["credentials"]] == ["person"]
    assert "is gone" in person("logout", "vault")[1]
    assert used(service, "user_2") is None
    assert "no credential of yours for engine 'vault'" in person("logout", "vault", code=66)[1]


def test_login_when_at_a_terminal_then_the_token_is_asked_for_and_not_shown(service: Served, tmp_path: Path) -> None:
    shown = at_terminal(service, tmp_path, "user_3").type_in("login", "vault", typed=[SECRET])
    assert "token for vault:" in shown
    assert SECRET not in shown
    assert used(service, "user_3") == SECRET


def test_login_when_for_a_group_then_an_admin_of_it_may(service: Served, tmp_path: Path) -> None:
    arguments = ("vault", "--group", "group1")
    at_terminal(service, tmp_path, "user_1")("login", *arguments, "--token-stdin", given=SECRET)
    assert used(service, "user_2") == SECRET
    refused = at_terminal(service, tmp_path, "user_2")("login", *arguments, "--token-stdin", given="x", code=77)
    assert "you need the role reprov_admin" in refused[1]
    shown, _ = at_terminal(service, tmp_path, "user_2")("list")
    assert [line.split() for line in shown.splitlines() if line.startswith("vault")] == [
        ["vault", "scripted", "elsewhere", "group1"]
    ]
    at_terminal(service, tmp_path, "user_1")("logout", *arguments)


def test_list_when_an_engine_is_broken_then_says_so(service: Served, tmp_path: Path) -> None:
    _, said = at_terminal(service, tmp_path, "user_1")("list")
    assert "broken does not work: it could not be loaded (ValueError)" in said


@pytest.mark.parametrize(
    ("arguments", "given", "told"),
    [
        (("login", "vault"), SECRET, "--token-stdin"),
        (("login", "vault", "--token-stdin"), " \n", "it is empty"),
        (("login", "vault", "--token-stdin"), f"two\n{SECRET}", "that is no token"),
    ],
)
def test_login_when_it_cannot_be_then_says_why(
    service: Served, tmp_path: Path, arguments: tuple[str, ...], given: str, told: str
) -> None:
    assert told in at_terminal(service, tmp_path, "user_2")(*arguments, given=given, code=64)[1]


def test_client_when_used_by_a_program_then_errors_are_those_of_the_service(service: Served) -> None:
    service.client_as("user_2").close()
    with Client(service.url, GivenToken(service.tokens["user_2"])) as client:
        client.engines.login("vault", SECRET)
        [vault] = [engine for engine in client.engines.list() if engine.name == "vault"]
        assert (vault.credentials, vault.is_remote, vault.is_default) == ((None,), True, False)
        client.engines.logout("vault")
        with pytest.raises(CredentialNotFound):
            client.engines.logout("vault")
        with pytest.raises(EngineNotFound):
            client.engines.login("nothing", SECRET)
        with pytest.raises(NotFound):
            client.engines.login("no/such engine?", SECRET)
        with pytest.raises(Forbidden):
            client.engines.login("vault", SECRET, group="group1")
