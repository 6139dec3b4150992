"""Engines and credentials for them over HTTP, on each database. What is secret is looked for everywhere."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from conftest import Served, opened_installation, served_installation, working
from stemma.auth.policy import ADMIN, USER
from stemma.engines.protocol import Owner
from stemma.lifecycle.installation import Installation, open_installation
from stemma.settings import Settings
from support.databases import KINDS
from support.documents import ECHO
from support.installed_engines import installed_engines
from support.real_service import wait_until

SECRET = "geheim-4711-ganz"
ENGINES = """
from support.scripted_engine import ScriptedEngine

class WithAccounts(ScriptedEngine):
    def acting_for(self, owner):
        return self

def vault(context):
    return WithAccounts(context.name, is_remote=True)

def broken(context):
    raise ValueError("geheim-4711-ganz")

def odd(context):
    engine = ScriptedEngine(context.name)
    engine.describe = lambda: 1 / 0
    return engine
"""
ENTRIES = {"vault": "engines_of_tests:vault", "broken": "engines_of_tests:broken", "odd": "engines_of_tests:odd"}


@pytest.fixture(scope="module", params=KINDS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("engines")
    with (
        installed_engines(folder / "packages", {"engines_of_tests": ENGINES}, ENTRIES),
        opened_installation(request.param, folder / "home", secret_key="k" * 40) as installation,
        served_installation(installation) as served,
    ):
        yield served


def engine(client: httpx.Client, name: str = "vault") -> dict[str, object]:
    answer = client.get("/engines")
    assert answer.status_code == 200, answer.text
    [found] = [one for one in answer.json()["data"] if one["name"] == name]
    shown: dict[str, object] = found
    return shown


def used(service: Served, client: httpx.Client, group: str) -> str | None:
    """What would be shown for a run of theirs."""
    owner = Owner(client.get("/whoami").json()["data"]["subject"], group)
    found = service.installation.credentials.find("vault", owner)
    return None if found is None else found.get_secret_value()


def test_engines_when_listed_then_what_they_are_and_what_is_wrong(person: httpx.Client) -> None:
    assert [one["name"] for one in person.get("/engines").json()["data"]] == ["broken", "cwltool", "odd", "vault"]
    own = engine(person, "cwltool")
    assert (own["default"], own["remote"], own["takes_credentials"], own["problem"]) == (True, False, False, None)
    assert own["version"]
    assert own["capabilities"]["cwl_versions"] == ["v1.0", "v1.1", "v1.2"]  # type: ignore[index]
    vault = engine(person)
    assert (vault["default"], vault["remote"], vault["takes_credentials"]) == (False, True, True)
    assert (vault["credentials"], vault["service_credential"]) == ([], False)
    broken = engine(person, "broken")
    assert (broken["version"], broken["problem"]) == (
        None,
        "it could not be loaded (ValueError); the service's log says more",
    )
    assert engine(person, "odd")["problem"] == "it cannot say what it is (ZeroDivisionError)"


def test_credential_when_given_and_taken_back_then_it_is_used_meanwhile(service: Served, person: httpx.Client) -> None:
    group = service.group_of(person)
    answer = person.put("/engines/vault/credential", json={"token": SECRET})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == {"engine": "vault", "scope": "person", "group": None}
    assert used(service, person, group) == SECRET
    [known] = engine(person)["credentials"]  # type: ignore[misc]
    assert (known["scope"], known["group"]) == ("person", None)
    assert person.delete("/engines/vault/credential").status_code == 200
    assert used(service, person, group) is None
    assert person.delete("/engines/vault/credential").status_code == 404


def test_credential_of_a_group_when_an_admin_gives_it_then_its_members_have_it(
    service: Served, admin: httpx.Client
) -> None:
    group = service.group_of(admin)
    given = {"token": SECRET, "scope": "group", "group": group}
    assert admin.put("/engines/vault/credential", json=given).json()["data"]["group"] == group
    with service.client_of(service.name("member"), group) as member:
        assert used(service, member, group) == SECRET
        [known] = engine(member)["credentials"]  # type: ignore[misc]
        assert (known["scope"], known["group"]) == ("group", group)
        refused = member.put("/engines/vault/credential", json=given)
        assert refused.status_code == 403
        assert "you need the role reprov_admin" in refused.json()["message"]
        taken = {"scope": "group", "group": group}
        assert member.delete("/engines/vault/credential", params=taken).status_code == 403
    with service.client_of(service.name("other"), f"{group}-other", roles=(USER, ADMIN)) as other:
        assert engine(other)["credentials"] == []
        assert other.put("/engines/vault/credential", json=given).status_code == 403
        assert other.delete("/engines/vault/credential", params=taken).status_code == 403
    assert used(service, admin, group) == SECRET
    only = {"scope": "group"}  # of the only group that there is
    assert admin.delete("/engines/vault/credential", params=only).json()["data"]["group"] == group
    assert used(service, admin, group) is None


def test_credential_when_the_group_is_not_clear_then_422(service: Served) -> None:
    with service.client_of(service.name(), "one", "two", roles=(USER, ADMIN)) as client:
        assert client.put("/engines/vault/credential", json={"token": SECRET, "scope": "group"}).status_code == 422
        mixed = client.put("/engines/vault/credential", json={"token": SECRET, "group": "one"})
        assert mixed.status_code == 422
        assert "say so with scope" in mixed.json()["message"]


@pytest.mark.parametrize("name", ["nothing", "VAULT", "reana", "vault%20", "%F0%9F%8C%A7", "x" * 300])
def test_credential_when_there_is_no_such_engine_then_404(person: httpx.Client, name: str) -> None:
    answer = person.put(f"/engines/{name}/credential", json={"token": SECRET})
    assert answer.status_code == 404, answer.text
    assert answer.headers["stemma-error"] == "engine-not-found"
    assert person.delete(f"/engines/{name}/credential").status_code == 404


def test_credential_when_the_engine_takes_none_then_422(person: httpx.Client) -> None:
    answer = person.put("/engines/cwltool/credential", json={"token": SECRET})
    assert answer.status_code == 422
    assert "takes no credentials" in answer.json()["message"]


def test_credential_when_the_engine_is_broken_then_503(person: httpx.Client) -> None:
    answer = person.put("/engines/broken/credential", json={"token": SECRET})
    assert (answer.status_code, answer.headers["stemma-error"]) == (503, "engine-broken")


@pytest.mark.parametrize(
    "body",
    [
        {"token": f"{SECRET}\n"},  # the only one that is taken, without the line's end
        {"token": f"{SECRET}\nand more"},
        {"token": SECRET * 2000},
        {"token": [SECRET]},
        {"token": {"value": SECRET}},
        {"scope": SECRET, "token": "x"},
        {"group": [SECRET], "token": "x"},
        {"group": SECRET * 100, "token": "x"},
        {SECRET: "x", "token": "y"},
        {"secret": SECRET},
        [SECRET],
        SECRET,
    ],
)
def test_credential_when_the_request_is_wrong_then_nothing_repeats_the_secret(
    service: Served, person: httpx.Client, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="stemma")
    answer = person.put("/engines/vault/credential", json=body)
    is_fine = body == {"token": f"{SECRET}\n"}
    assert answer.status_code == (200 if is_fine else 422), answer.text
    [entry] = service.audited(answer)
    assert entry.result == ("done" if is_fine else "invalid-request")
    assert SECRET not in f"{answer.text} {answer.headers} {entry} {caplog.text}"


@pytest.mark.parametrize("content", [b"", b"{", f'{{"token": "{SECRET}"'.encode(), f"{SECRET}".encode(), b"\xff\xfe"])
def test_credential_when_the_body_is_no_json_then_422_without_it(person: httpx.Client, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = person.put("/engines/vault/credential", content=content, headers=headers)
    assert answer.status_code == 422
    assert SECRET not in answer.text


def test_everything_when_a_credential_is_kept_then_no_answer_tells_it_or_its_length(
    service: Served, admin: httpx.Client
) -> None:
    answers = [
        admin.put("/engines/vault/credential", json={"token": SECRET, "scope": scope}) for scope in ("person", "group")
    ]
    longer = [admin.put("/engines/vault/credential", json={"token": SECRET * 9})]
    told = [admin.get("/engines") for _ in range(2)]
    told += [admin.delete("/engines/vault/credential", params={"scope": scope}) for scope in ("person", "group")]
    assert all(answer.status_code == 200 for answer in [*answers, *longer, *told])
    assert SECRET not in " ".join(answer.text for answer in [*answers, *longer, *told])
    assert answers[0].text == longer[0].text


def test_credential_when_changed_or_refused_then_on_record(service: Served, admin: httpx.Client) -> None:
    group = service.group_of(admin)
    name = admin.get("/whoami").json()["data"]["username"]
    given = admin.put("/engines/vault/credential", json={"token": SECRET, "scope": "group"})
    gone = admin.delete("/engines/vault/credential", params={"scope": "group", "group": group})
    again = admin.delete("/engines/vault/credential", params={"scope": "group", "group": group})
    unknown = admin.put("/engines/nothing/credential", json={"token": SECRET})
    told = [
        (entry.by.username, entry.action, entry.resource_kind, entry.resource_id, entry.group, entry.result)
        for answer in (given, gone, again, unknown)
        for entry in service.audited(answer)
    ]
    assert told == [
        (name, "engine.login", "engine", "vault", group, "done"),
        (name, "engine.logout", "engine", "vault", group, "done"),
        (name, "engine.logout", "engine", "vault", group, "credential-not-found"),
        (name, "engine.login", "engine", "nothing", None, "engine-not-found"),
    ]


def test_credential_when_the_role_is_missing_then_403(service: Served) -> None:
    with service.client_of(service.name(), "group1", roles=()) as nobody:
        assert nobody.get("/engines").status_code == 403
        assert nobody.put("/engines/vault/credential", json={"token": SECRET}).status_code == 403
        assert nobody.delete("/engines/vault/credential").status_code == 403
    with service.client() as stranger:
        assert stranger.put("/engines/vault/credential", json={"token": SECRET}).status_code == 401


def started(client: httpx.Client) -> tuple[int, int]:
    form = {"name": Served.name(), "version": "1"}
    made = client.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", ECHO)})
    entry = made.json()["data"]["registry_id"]
    asked = {"inputs": {"words": "hi"}, "engine": "cellar", "nowait": True}
    answer = client.post(f"/workflow_execution/execute/{entry}", json=asked)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["execution_id"]
    return entry, number


def seen(client: httpx.Client, number: int) -> tuple[str, str | None]:
    shown = client.get(f"/workflow_execution/{number}").json()["data"]
    return shown["status"], shown["held_up"]


def test_runs_when_their_engine_is_taken_away_then_they_wait_and_say_so_until_it_is_put_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        settings = stack.enter_context(opened_installation("sqlite", tmp_path / "home", secret_key="k" * 40)).settings
        with with_engines(tmp_path / "before"), opened_again(settings) as (installation, client):
            with working(installation):
                entry, begun = started(client)
                wait_until(lambda: seen(client, begun)[0] == "pending")
            (_, queued), (unwanted, _) = started(client), started(client)
            assert seen(client, queued) == ("queued", None)
        with opened_again(settings) as (installation, client), working(installation):
            for number, state in ((begun, "pending"), (queued, "queued")):
                status, held_up = seen(client, number)
                assert status == state
                assert held_up is not None
                assert "its engine 'cellar' is not set up here" in held_up
                assert ("what had begun there cannot be reached" in held_up) == (number == begun)
            assert client.delete("/workflow_execution/delete", params={"registry_id": unwanted}).status_code == 200
            refused = client.delete("/workflow_execution/delete", params={"registry_id": entry})
            assert (refused.status_code, "not set up here" in refused.json()["message"]) == (503, True)
        with with_engines(tmp_path / "again"), opened_again(settings) as (installation, client), working(installation):
            assert seen(client, queued)[1] is None
            wait_until(lambda: seen(client, queued)[0] == "pending")
            wait_until(lambda: seen(client, begun)[0] in {"failed", "stopped"})  # somebody attends to it again


def with_engines(folder: Path) -> AbstractContextManager[None]:
    """One that no other test has at the same time."""
    return installed_engines(folder, {"engines_taken_away": ENGINES}, {"cellar": "engines_taken_away:vault"})


@contextmanager
def opened_again(settings: Settings) -> Iterator[tuple[Installation, httpx.Client]]:
    """The installation with the engines that there are now, and somebody who asks it."""
    with (
        closing(open_installation(settings)) as opened,
        served_installation(opened) as served,
        served.client_as("user_1") as client,
    ):
        yield opened, client
