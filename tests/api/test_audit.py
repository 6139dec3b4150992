"""What requests leave in the audit: with a real service on each database."""

import http.client
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import text

from conftest import Served, opened_installation, served_installation
from stemma.api.app import create_app
from stemma.api.audit import deed_of
from stemma.api.dependencies import Allowed
from stemma.auth.policy import Action
from stemma.auth.principal import Principal
from stemma.database.queries import runs, workflows
from stemma.database.queries.audit import AuditEntry, Wanted, entries
from stemma.errors import DatabaseUnavailable
from stemma.lifecycle.audit import Deed
from support.documents import ECHO

NOBODYS = 999_999


def only(served: Served, answer: httpx.Response, status: int = 200) -> AuditEntry:
    """The one entry of a request, which says who and from where."""
    assert answer.status_code == status, answer.text
    [entry] = served.audited(answer)
    assert entry.address == "127.0.0.1"
    assert entry.status == (None if status == 200 else status)
    assert (entry.result == "done") == (status == 200)
    return entry


def send(client: httpx.Client, name: str, spec: bytes = ECHO, **more: str) -> httpx.Response:
    form = {"name": name, "version": "1", **more}
    return client.post("/workflow_registry/register", data=form, files={"spec_file": ("main.cwl", spec)})


def registered(client: httpx.Client, served: Served) -> int:
    return int(send(client, served.name()).json()["data"]["registry_id"])


def submitted(client: httpx.Client, workflow: int) -> httpx.Response:
    asked = {"inputs": {"words": "hi"}, "nowait": True}
    return client.post(f"/workflow_execution/execute/{workflow}", json=asked)


def about(entry: AuditEntry) -> tuple[str, str, str | None, str | None, str | None, str]:
    return entry.by.username, entry.action, entry.resource_kind, entry.resource_id, entry.group, entry.result


def test_writes_when_they_succeed_then_leave_one_row_each(served: Served, user: httpx.Client) -> None:
    name = served.name()
    answer = send(user, name)
    entry = only(served, answer)
    workflow = str(answer.json()["data"]["registry_id"])
    assert about(entry) == ("user_1", "workflow.register", "workflow", workflow, "group1", "done")
    assert entry.by.subject == user.get("/whoami").json()["data"]["subject"]

    answer = user.put(f"/workflow_registry/update/{workflow}", params={"version": "2"})
    assert about(only(served, answer)) == ("user_1", "workflow.update", "workflow", workflow, "group1", "done")

    answer = submitted(user, int(workflow))
    run = str(answer.json()["data"]["execution_id"])
    assert about(only(served, answer)) == ("user_1", "run.submit", "run", run, "group1", "done")

    served.run_to_end(user, int(run))
    answer = user.get(f"/provenance/capture/{run}")
    assert about(only(served, answer)) == ("user_1", "provenance.capture", "run", run, "group1", "done")

    answer = user.delete("/workflow_execution/delete", params={"registry_id": workflow})
    assert about(only(served, answer)) == ("user_1", "run.delete", "run", run, "group1", "done")

    answer = user.delete(f"/workflow_registry/delete/{workflow}")
    assert about(only(served, answer)) == ("user_1", "workflow.delete", "workflow", workflow, "group1", "done")

    on_it = entries(served.installation.database, Wanted(resource_kind="workflow", resource_id=workflow))
    assert [entry.action for entry in on_it] == ["workflow.register", "workflow.update", "workflow.delete"]
    on_run = entries(served.installation.database, Wanted(resource_kind="run", resource_id=run))
    assert [entry.action for entry in on_run] == ["run.submit", "provenance.capture", "run.delete"]


def test_stop_and_delete_when_several_runs_go_on_then_each_has_its_rows(idle: Served) -> None:
    with idle.client_as("user_1") as user:
        workflow = registered(user, idle)
        first, second = (submitted(user, workflow).json()["data"]["execution_id"] for _ in range(2))
        stopped = user.post(f"/workflow_execution/{first}/stop")
        assert about(only(idle, stopped)) == ("user_1", "run.stop", "run", str(first), "group1", "done")
        deleted = user.delete("/workflow_execution/delete", params={"registry_id": workflow})
    assert sorted((entry.action, entry.resource_id) for entry in idle.audited(deleted)) == sorted(
        [("run.stop", str(second)), ("run.delete", str(second)), ("run.delete", str(first))]
    )


def test_reading_when_it_succeeds_or_finds_nothing_then_leaves_nothing(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served)
    for path in (f"/workflow_registry/{workflow}", f"/workflow_registry/{workflow}/spec", "/workflow_execution"):
        assert "stemma-request" not in user.get(path).headers
    assert "stemma-request" not in user.get(f"/workflow_registry/{NOBODYS}").headers
    found = entries(served.installation.database, Wanted(resource_kind="workflow", resource_id=str(workflow)))
    assert [entry.action for entry in found] == ["workflow.register"]


def test_refusals_when_of_any_kind_then_leave_one_row_with_the_code(served: Served, user: httpx.Client) -> None:
    name = served.name()
    number = send(user, name).json()["data"]["registry_id"]
    registry, execution = "/workflow_registry", "/workflow_execution"
    for answer, status, action, resource, result in (
        (send(user, name), 400, "workflow.register", None, "duplicate-workflow"),
        (send(user, served.name(), b"class: Nothing"), 422, "workflow.register", None, "invalid-document"),
        (send(user, served.name(), group="group2"), 403, "workflow.register", None, "forbidden"),
        (send(user, ""), 422, "workflow.register", None, "invalid-request"),
        (user.post(f"{registry}/register", data={"name": "x"}), 422, "workflow.register", None, "invalid-request"),
        (user.put(f"{registry}/update/{NOBODYS}"), 404, "workflow.update", NOBODYS, "workflow-not-found"),
        (user.delete(f"{registry}/delete/{NOBODYS}"), 404, "workflow.delete", NOBODYS, "workflow-not-found"),
        (user.post(f"{execution}/{NOBODYS}/stop"), 404, "run.stop", NOBODYS, "run-not-found"),
        (user.post(f"{execution}/execute/{number}", json={}), 422, "run.submit", number, "invalid-inputs"),
        (user.post(f"{execution}/execute/{number}", content=b"{", headers={"Content-Type": "application/json"}),
         422, "run.submit", number, "invalid-request"),
        (user.delete(f"{execution}/delete"), 403, "run.delete", None, "ambiguous-selection"),
        (user.delete(f"{execution}/delete?reana_name=none:1"), 404, "run.delete", "none:1", "run-not-found"),
        (user.delete(f"{execution}/delete?registry_id=abc"), 422, "run.delete", "abc", "invalid-request"),
        (user.get("/provenance/capture?reana_name=none:1&reana_run_number=3"),
         404, "provenance.capture", "none:1 #3", "run-not-found"),
    ):  # fmt: skip
        entry = only(served, answer, status)
        expected = None if resource is None else str(resource)
        assert (entry.by.username, entry.action, entry.resource_id, entry.result) == (
            "user_1", action, expected, result,
        )  # fmt: skip


def test_refusals_when_the_role_is_not_enough_then_say_which(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served)
    with served.client_as("user_2") as colleague:
        entry = only(served, colleague.delete(f"/workflow_registry/delete/{workflow}"), 403)
    assert about(entry) == ("user_2", "workflow.delete", "workflow", str(workflow), None, "forbidden")


def test_refusals_when_it_is_others_then_look_like_what_does_not_exist(
    served: Served, user: httpx.Client, stranger: httpx.Client
) -> None:
    workflow = registered(user, served)
    theirs = only(served, stranger.delete(f"/workflow_registry/delete/{workflow}"), 404)
    nobodys = only(served, stranger.delete(f"/workflow_registry/delete/{NOBODYS}"), 404)
    assert about(theirs) == ("user_4", "workflow.delete", "workflow", str(workflow), None, "workflow-not-found")
    assert (theirs.action, theirs.group, theirs.result) == (nobodys.action, nobodys.group, nobodys.result)


def test_refusal_of_reading_when_there_is_no_role_then_is_on_record(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.client_as("user_5") as user:
        subject = user.get("/whoami").json()["data"]["subject"]
        without = Principal(subject, "user_5", ("group2",), frozenset({"other"}))
        monkeypatch.setattr(
            type(create_app(served.installation).state.service.identity.verifier), "remembered", lambda *_: without
        )
        entry = only(served, user.get("/workflow_execution/7/logs"), 403)
    assert about(entry) == ("user_5", "read", "run", "7", None, "forbidden")
    assert (without.address, without.request) == (None, None)


def test_bodies_when_too_large_then_their_sender_is_on_record(idle: Served) -> None:
    with idle.client_as("user_1") as user:
        inputs = {"input_file": ("in.yml", b"x" * 30_000)}
        entry = only(idle, user.post(f"/workflow_execution/execute/{NOBODYS}", files=inputs), 413)
        assert about(entry) == ("user_1", "run.submit", "workflow", str(NOBODYS), None, "too-large")
        large = [("files", ("a", b"x" * 1000))] * 1001
        entry = only(idle, user.post(f"/workflow_execution/execute/{NOBODYS}", files=large), 413)
        assert (entry.action, entry.result) == ("run.submit", "too-large")
        announced = http.client.HTTPConnection("127.0.0.1", httpx.URL(idle.url).port, timeout=10)
        announced.putrequest("POST", "/workflow_registry/register?group=group1")
        announced.putheader("Authorization", user.headers["authorization"])
        announced.putheader("Content-Length", str(10**15))
        announced.endheaders()
        answer = announced.getresponse()
        told = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
        announced.close()
    assert about(only(idle, told, 413)) == ("user_1", "workflow.register", "workflow", None, "group1", "too-large")


def test_write_when_it_cannot_be_written_down_then_is_not_done(idle: Served) -> None:
    with idle.client_as("user_1") as user:
        workflow = registered(user, idle)
        database = idle.installation.database
        with database.transaction() as session:
            session.execute(
                text(
                    "CREATE TRIGGER breaks BEFORE INSERT ON audit WHEN NEW.action = 'workflow.delete' AND NEW.result = 'done'"
                    " BEGIN SELECT RAISE(ABORT, 'broken'); END"
                )
            )
        try:
            answer = user.delete(f"/workflow_registry/delete/{workflow}")
        finally:
            with database.transaction() as session:
                session.execute(text("DROP TRIGGER breaks"))
        assert about(only(idle, answer, 500))[-1] == "internal-error"
        assert user.get(f"/workflow_registry/{workflow}").status_code == 200


def test_submission_when_it_fails_after_its_row_was_written_then_there_is_neither(
    idle: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with idle.client_as("user_1") as user:
        workflow = registered(user, idle)

        def breaks(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(runs, "get", breaks)  # what the transaction does last
            answer = submitted(user, workflow)
        assert about(only(idle, answer, 500))[-1] == "internal-error"
        shown = user.get("/workflow_execution", params={"registry_id": workflow}).json()["data"]
    assert shown["items"] == []


def test_refusal_when_the_database_is_away_then_is_logged(
    idle: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def is_away(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    with idle.client_as("user_1") as user, monkeypatch.context() as patched:
        patched.setattr(workflows, "get", is_away)
        answer = user.delete("/workflow_registry/delete/7")
    assert answer.status_code == 503
    assert idle.audited(answer) == []
    assert answer.headers["stemma-request"] in caplog.text


def test_refusal_when_it_cannot_be_written_down_then_is_logged_and_leaves(
    served: Served, user: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    database = served.installation.database
    with database.transaction() as session:
        session.execute(text("ALTER TABLE audit RENAME TO audit_away"))
    try:
        answer = user.delete(f"/workflow_registry/delete/{NOBODYS}")
    finally:
        with database.transaction() as session:
            session.execute(text("ALTER TABLE audit_away RENAME TO audit"))
    assert answer.status_code == 404
    assert "could not be written into the audit" in caplog.text
    assert "workflow-not-found" in caplog.text
    assert answer.headers["stemma-request"] in caplog.text


def test_tokens_when_they_do_not_hold_then_are_logged_with_the_address(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stemma.api.audit")
    with served.client() as nobody:
        for path in ("/workflow_execution/execute/1%E2%80%A8forged", "/workflow_execution/execute/1"):
            answer = nobody.post(path)
            assert answer.status_code == 401
            assert "stemma-request" not in answer.headers
    lines = [record.getMessage() for record in caplog.records if record.name == "stemma.api.audit"]
    assert len(lines) == 2
    assert "POST /workflow_execution/execute/1' from 127.0.0.1: no token was sent" in lines[1]
    assert all("\n" not in line for line in lines)


def test_routes_when_walked_then_each_that_changes_something_has_its_deed(idle: Served) -> None:
    deeds = set()
    for context in iter_route_contexts(create_app(idle.installation).routes):
        assert isinstance(context.original_route, APIRoute)
        calls = [dependency.call for dependency in context.dependant.dependencies]
        actions = [call.action for call in calls if isinstance(call, Allowed)]
        path = context.path_format.replace("{registry_id}", "7").replace("{execution_id}", "7")
        path = path.replace("{engine}", "reana").replace("{remote}", "rain")
        for method in context.methods or ():
            deed = deed_of(method, path)
            assert (deed is not None) == (bool(actions) and actions != [Action.READ]), (method, path)
            deeds |= {deed}
    assert deeds >= set(Deed)


@contextmanager
def proxied(folder: Path, proxies: str | None) -> Iterator[Served]:
    """A service as ``stemma serve`` starts it, which believes ``proxies``."""
    with (
        opened_installation("sqlite", folder, trusted_proxies=proxies) as installation,
        served_installation(installation) as service,
    ):
        yield service


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (None, "203.0.113.7", "127.0.0.1"),
        ("192.0.2.1", "203.0.113.7", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("192.0.2.0/24, 127.0.0.0/8", "198.51.100.9, 203.0.113.7, 192.0.2.4", "203.0.113.7"),
        ("127.0.0.1", "<script>\u00e4" + "x" * 5000, "<script>\u00e4" + "x" * 54 + "…"),
        ("127.0.0.1", "[2001:DB8:0::1]:4711", "2001:db8::1"),
    ],
)
def test_address_when_a_proxy_tells_it_then_is_believed_of_trusted_ones_alone(
    tmp_path: Path, proxies: str | None, forwarded: str, address: str
) -> None:
    with proxied(tmp_path, proxies) as service, service.client_as("user_1") as user:
        headers = {"X-Forwarded-For": forwarded.encode("latin-1")}
        answer = user.delete(f"/workflow_registry/delete/{NOBODYS}", headers=headers)  # type: ignore[arg-type]
        [entry] = service.audited(answer)
    assert entry.address == address


def test_requests_when_of_one_caller_then_have_numbers_of_their_own(idle: Served) -> None:
    with idle.client_as("user_1") as user:
        first, second = (user.delete(f"/workflow_registry/delete/{NOBODYS}") for _ in range(2))
    assert first.headers["stemma-request"] != second.headers["stemma-request"]
    assert len(idle.audited(first)) == len(idle.audited(second)) == 1
