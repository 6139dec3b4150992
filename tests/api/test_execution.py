"""Executions over HTTP: real runs on the real engine, on each database."""

import io
import json
import threading
import time
import zipfile
from typing import Any

import httpx
import pytest

from conftest import Served
from stemma import clock
from stemma.api.routes import execution
from stemma.database.queries import queue, recorded
from stemma.database.queries.queue import Claimant
from stemma.lifecycle.execute import fail
from stemma.store.content import ContentStore
from support.documents import COPY, ECHO, FAILING, LOUD, SLOW, naming

GATHER = b"""
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
arguments: [{shellQuote: false, valueFrom: "mkdir -p d/inner d/empty && echo x > 'd/inner/a b.txt' && echo y > d/y"}]
inputs: []
outputs:
  d: {type: Directory, outputBinding: {glob: d}}
"""


def registered(client: httpx.Client, served: Served, spec: bytes, inputs: bytes | None = None) -> int:
    files: dict[str, Any] = {"spec_file": ("main.cwl", spec)}
    if inputs is not None:
        files["input_file"] = ("inputs.yml", inputs)
    answer = client.post("/workflow_registry/register", data={"name": served.name(), "version": "1.0"}, files=files)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["registry_id"]
    return number


def executed(client: httpx.Client, workflow: int, **request: Any) -> int:
    answer = client.post(f"/workflow_execution/execute/{workflow}", **request)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["data"]["execution_id"]
    return number


def test_execute_when_inputs_come_as_json_then_it_runs(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served, ECHO)
    answer = user.post(f"/workflow_execution/execute/{workflow}", json={"inputs": {"words": "hello"}})
    started = answer.json()["data"]
    assert started["reana_id"] is not None
    assert started["reana_run_number"] == 1
    assert started["reana_name"].endswith(":1-0")
    run = served.run_to_end(user, started["execution_id"])
    assert run["status"] == "finished"
    assert (run["registry_id"], run["engine"], run["submitted_by"]) == (workflow, "cwltool", "user_1")
    assert run["start_time"] <= run["end_time"]
    assert run["start_time"].endswith("Z")
    step = run["steps"][0]
    assert (step["status"], step["exit_code"]) == ("finished", 0)
    assert "echo hello" in step["command"]
    assert set(step["resource_usage"]) == {
        "cpu_time_seconds", "memory_peak_mb", "disk_read_bytes", "disk_write_bytes",
    }  # fmt: skip
    said = run["outputs"]["said"]
    assert (said["basename"], said["size"]) == ("said.txt", 6)
    assert "stemma:occurrence" not in json.dumps(run)
    whole = user.get(f"/workflow_execution/files/{said['id']}")
    assert whole.content == b"hello\n"
    assert user.get(f"/workflow_execution/files/{said['id']}", headers={"Range": "bytes=0-1"}).content == b"he"
    listed = user.get("/workflow_execution", params={"registry_id": workflow, "status": "finished"}).json()["data"]
    assert [entry["execution_id"] for entry in listed["items"]] == [run["execution_id"]]
    assert "steps" not in listed["items"][0]


@pytest.mark.parametrize(
    "request_",
    [
        {"files": {"input_file": ("in.yml", b"words: hello")}},
        {"data": {"inputs": '{"words": "hello"}', "engine": "cwltool", "revision": "1", "nowait": "true"}},
        {"params": {"engine": "cwltool", "revision": 1}, "json": {"inputs": {"words": "hello"}}},
        {},
    ],
)
def test_execute_when_inputs_come_in_any_way_then_it_runs(
    served: Served, user: httpx.Client, request_: dict[str, Any]
) -> None:
    workflow = registered(user, served, ECHO, b"words: hello")
    run = served.run_to_end(user, executed(user, workflow, **request_))
    assert run["inputs"] == {"words": "hello"}
    assert run["status"] == "finished"


def test_execute_when_files_are_sent_along_then_the_zips_hold_everything(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served, COPY)
    names = ["first", "second", "ветер.txt"]
    texts: list[dict[str, str]] = [{"class": "File", "location": name} for name in names]
    texts[0]["basename"] = texts[1]["basename"] = "a.txt"
    sent = [("files", (name, name.encode())) for name in names]
    run = served.run_to_end(user, executed(user, workflow, data={"inputs": json.dumps({"texts": texts})}, files=sent))
    assert run["status"] == "finished", json.dumps(run, ensure_ascii=False)
    assert [element["basename"] for element in run["outputs"]["copies"]][:2] == ["a.txt", "a.txt"]
    for side, port in (("inputs", "texts"), ("outputs", "copies")):
        by_id = user.get(f"/workflow_execution/{side}/{run['execution_id']}")
        named = {"reana_name": run["reana_name"], "reana_run_number": run["reana_run_number"]}
        by_name = user.get(f"/workflow_execution/{side}", params=named)
        assert by_id.content == by_name.content
        assert by_id.headers["content-disposition"].isascii()
        with zipfile.ZipFile(io.BytesIO(by_id.content)) as archive:
            assert archive.testzip() is None
            described = json.loads(archive.read(f"{side}.json"))[port]
            assert [archive.read(file["location"]) for file in described] == [name.encode() for name in names]
            assert archive.namelist()[1:3] == [f"{port}/0/a.txt", f"{port}/1/a.txt"]
            for path in archive.namelist():
                assert not path.startswith("/")
                assert ".." not in path.split("/")


def test_outputs_when_there_is_a_directory_then_it_stays_one(served: Served, user: httpx.Client) -> None:
    run = served.run_to_end(user, executed(user, registered(user, served, GATHER)))
    assert run["status"] == "finished", json.dumps(run, ensure_ascii=False)
    packed = user.get(f"/workflow_execution/outputs/{run['execution_id']}").content
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = set(archive.namelist())
        assert {"d/d/", "d/d/inner/", "d/d/inner/a b.txt", "d/d/y"} <= names
        assert archive.read("d/d/inner/a b.txt") == b"x\n"


def test_outputs_when_the_run_failed_then_409_and_the_reason_is_told(served: Served, user: httpx.Client) -> None:
    run = served.run_to_end(user, executed(user, registered(user, served, FAILING)))
    assert run["status"] == "failed"
    assert run["reason"]
    step = run["steps"][-1]
    assert (step["exit_code"], step["status"]) == (3, "failed")
    assert "it went wrong" in step["stderr_tail"]
    assert step["error_message"]
    assert user.get(f"/workflow_execution/outputs/{run['execution_id']}").status_code == 409
    assert user.get(f"/workflow_execution/inputs/{run['execution_id']}").status_code == 200


@pytest.mark.parametrize(
    ("inputs", "status"),
    [
        ({}, 422), ({"words": 3}, 422), ({"words": "x", "more": 1}, 422), ([], 422),
        ({"words": {"class": "File", "location": "file:///etc/passwd"}}, 422),
    ],
)  # fmt: skip
def test_execute_when_inputs_do_not_fit_then_nothing_runs(
    served: Served, user: httpx.Client, inputs: Any, status: int
) -> None:
    workflow = registered(user, served, ECHO)
    answer = user.post(f"/workflow_execution/execute/{workflow}", json={"inputs": inputs})
    assert answer.status_code == status
    assert answer.json()["data"][0]["message"]
    assert user.get("/workflow_execution", params={"registry_id": workflow}).json()["data"]["items"] == []


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"content": b"[1]", "headers": {"Content-Type": "application/json; charset=utf-8"}},
        {"content": b'{"inputs": {"words": "\\ud800"}}', "headers": {"Content-Type": "application/json"}},
        {"json": {"input": {}}},
        {"json": {"revision": 10**40}},
        {"data": {"inputs": '{"words": "\\ud800"}'}},
        {"data": {"inputs": "{"}},
        {"data": {"revision": "x"}},
        {"data": {"engine": "no-such"}},
        {"data": {"inputs": "{}"}, "files": {"input_file": ("in.yml", b"words: x")}},
        {"files": {"input_file": ("in.yml", b'words: "\\ud800"')}},
        {"files": {"input_file": ("in.yml", b"- a\n- b")}},
        {"files": {"input_file": ("in.yml", b"\xff\xfe\x00")}},
        {"files": [("files", ("a", b"1")), ("files", ("a", b"2"))]},
    ],
)
def test_execute_when_the_request_is_odd_then_422(served: Served, user: httpx.Client, request_: dict[str, Any]) -> None:
    workflow = registered(user, served, ECHO)
    answer = user.post(f"/workflow_execution/execute/{workflow}", **request_)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error_code"] == 422


def test_execute_when_a_file_was_not_sent_then_says_which(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served, COPY)
    inputs = {"texts": [{"class": "File", "location": "missing.txt"}]}
    answer = user.post(f"/workflow_execution/execute/{workflow}", json={"inputs": inputs})
    assert answer.status_code == 422
    assert "missing.txt" in answer.json()["data"][0]["message"]


ANYTHING = b"""
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement: {listing: [{entryname: cwl.output.json, entry: $(inputs.text)}]}
baseCommand: [sh, -c, "printf z > z.txt"]
inputs:
  text: string
  thing: Any?
outputs:
  made: Any
"""


def test_execute_when_a_tool_writes_our_key_then_it_is_not_believed(served: Served, user: httpx.Client) -> None:
    other = served.run_to_end(user, executed(user, registered(user, served, ECHO), json={"inputs": {"words": "x"}}))
    with served.installation.database.reading() as session:
        (foreign, *_) = recorded.occurrences(session, other["execution_id"])
        assert recorded.numbers_of(session, other["execution_id"], [foreign.uuid]) == {foreign.uuid: foreign.id}
        assert recorded.numbers_of(session, other["execution_id"] + 1, [foreign.uuid]) == {}
    key = "stemma:occurrence"
    nested = {"class": "File", "path": "z.txt", key: str(foreign.uuid)}
    made = [
        {key: "no", "a": 1}, {key: 5}, {key: str(foreign.uuid)},
        {"class": "File", "path": "z.txt", "format": nested, key: str(foreign.uuid)},
    ]  # fmt: skip
    workflow = registered(user, served, ANYTHING)
    text = json.dumps({"made": made})
    run = served.run_to_end(user, executed(user, workflow, json={"inputs": {"text": text}}))
    assert run["status"] == "finished", json.dumps(run)
    *values, file = run["outputs"]["made"]
    assert values == [{"a": 1}, {}, {}]
    assert "format" not in file
    assert file["id"] not in {None, foreign.id}
    assert user.get(f"/workflow_execution/files/{file['id']}").content == b"z"
    for path in ("workflow_execution/inputs", "workflow_execution/outputs", "provenance/json"):
        assert user.get(f"/{path}/{run['execution_id']}").status_code == 200


@pytest.mark.parametrize(
    ("thing", "rule"),
    [
        ({"a": [{"stemma:occurrence": "no"}]}, "inputs/reserved"),
        ({"class": "File", "contents": "x", "format": {"class": "File", "checksum": "sha256:0"}}, "inputs/file"),
    ],
)
def test_execute_when_a_value_would_pass_for_a_record_of_ours_then_422(
    served: Served, user: httpx.Client, thing: Any, rule: str
) -> None:
    workflow = registered(user, served, ANYTHING)
    answer = user.post(f"/workflow_execution/execute/{workflow}", json={"inputs": {"text": "{}", "thing": thing}})
    assert (answer.status_code, answer.json()["data"][0]["rule"]) == (422, rule)


def test_execute_when_texts_become_files_then_they_are_stored_before_the_database_is_held(
    idle: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = idle.installation
    held: list[bool] = []
    is_writing = threading.local()
    write, put = type(installation.database).write, ContentStore.put_bytes

    def noted_write(database: Any, work: Any) -> Any:
        def noted(session: Any) -> Any:
            is_writing.now = True
            try:
                return work(session)
            finally:
                is_writing.now = False

        return write(database, noted)

    def noted_put(store: ContentStore, content: bytes) -> Any:
        held.append(getattr(is_writing, "now", False))
        return put(store, content)

    with idle.client_as("user_1") as client:
        workflow = registered(client, idle, COPY)
        monkeypatch.setattr(type(installation.database), "write", noted_write)
        monkeypatch.setattr(ContentStore, "put_bytes", noted_put)
        texts = [{"class": "File", "basename": f"{n}.txt", "contents": text} for n, text in enumerate("aab")]
        number = executed(client, workflow, json={"inputs": {"texts": texts}}, params={"nowait": True})
        assert held == [False, False]
        shown = client.get(f"/workflow_execution/{number}").json()["data"]["inputs"]["texts"]
        assert [file["size"] for file in shown] == [1, 1, 1]
        assert len({file["checksum"] for file in shown}) == 2


def test_execute_when_too_many_files_are_named_then_413(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served, COPY)
    texts = [{"class": "File", "basename": "x", "contents": ""}] * 10_001
    answer = user.post(f"/workflow_execution/execute/{workflow}", json={"inputs": {"texts": texts}})
    assert answer.status_code == 413, answer.text
    assert "10000 files" in answer.json()["message"]


OUTSIDE = b"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [ln, -s]
inputs:
  target: {type: string, inputBinding: {position: 1}}
arguments: [{position: 2, valueFrom: made.txt}]
outputs:
  made: {type: File, outputBinding: {glob: made.txt}}
"""


def test_execute_when_an_output_leads_elsewhere_then_the_reason_tells_no_place(
    served: Served, user: httpx.Client
) -> None:
    stored = served.installation.store.put_bytes(b"of another group")
    target = str(served.installation.store.path(stored.sha256))
    run = served.run_to_end(
        user, executed(user, registered(user, served, OUTSIDE), json={"inputs": {"target": target}})
    )
    assert run["status"] == "failed"
    assert "made.txt leads to a place which lies outside the run" in run["reason"]
    assert str(served.installation.settings.home) not in run["reason"]
    assert stored.sha256 not in run["reason"]


def test_execute_when_a_placeholder_names_a_file_then_it_is_used(served: Served, user: httpx.Client) -> None:
    first = served.run_to_end(user, executed(user, registered(user, served, ECHO), json={"inputs": {"words": "hi"}}))
    copy = naming("valueFromEntity", first["outputs"]["said"]["id"])
    run = served.run_to_end(user, executed(user, registered(user, served, copy)))
    assert run["status"] == "finished", json.dumps(run, ensure_ascii=False)
    assert user.get(f"/workflow_execution/files/{run['outputs']['copied']['id']}").content == b"hi\n"
    elsewhere = naming("valueFromEntity", 99999999)
    lost = user.post(f"/workflow_execution/execute/{registered(user, served, elsewhere)}")
    assert lost.status_code == 404
    assert "Invalid entity id in placeholder" in lost.json()["message"]


def test_execute_when_no_worker_answers_then_says_queued_in_time(idle: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "FIRST_WORD_SECONDS", 0.5)
    with idle.client_as("user_1") as client:
        workflow = registered(client, idle, ECHO)
        began = time.monotonic()
        answer = client.post(f"/workflow_execution/execute/{workflow}", json={"inputs": {"words": "x"}})
        assert 0.4 < time.monotonic() - began < 3
        shown = answer.json()["data"]
        assert (answer.status_code, shown["status"], shown["reana_id"]) == (200, "queued", None)
        assert client.get(f"/workflow_execution/outputs/{shown['execution_id']}").status_code == 409
        assert client.post(f"/provenance/capture/{shown['execution_id']}").status_code == 409
        stopped = client.post(f"/workflow_execution/{shown['execution_id']}/stop")
        assert stopped.json()["data"]["status"] == "stopped"


def test_execute_when_the_engine_refuses_then_503_and_the_run_stays_on_record(idle: Served) -> None:
    with idle.client_as("user_1") as client:
        workflow = registered(client, idle, ECHO, b"words: x")
        refusing = threading.Thread(target=refuse_next_of, args=(idle, workflow))
        refusing.start()
        answer = client.post(f"/workflow_execution/execute/{workflow}")
        refusing.join()
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
        refused = answer.json()["data"]
        run = client.get(f"/workflow_execution/{refused['execution_id']}").json()["data"]
        assert (run["status"], run["reason"]) == ("failed", "nobody is there")


def refuse_next_of(service: Served, workflow: int) -> None:
    """Do what a worker does with a run that its engine does not take."""
    installation = service.installation
    claimant = Claimant("refusing", installation.home_id, ("cwltool",), 15, 15)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        claims = installation.database.write(lambda session: queue.claim(session, claimant, limit=100, now=clock.now()))
        for claim in claims:
            with installation.database.reading() as session:
                is_it = queue.run_row(session, claim.run_id).workflow_id == workflow
            if is_it:
                fail(installation, claim, "nobody is there")
                return
            installation.database.write(lambda session, claim=claim: queue.release(session, claim, clock.now()))
        time.sleep(0.02)


def test_stop_when_it_runs_then_it_ends_and_again_is_409(served: Served, user: httpx.Client) -> None:
    number = executed(user, registered(user, served, SLOW), json={"inputs": {"pause": 20.0}})
    wait_for(user, number, {"running"})
    began = time.monotonic()
    assert user.post(f"/workflow_execution/{number}/stop").status_code == 200
    run = served.run_to_end(user, number)
    assert time.monotonic() - began < 5
    assert run["status"] == "stopped"
    assert user.post(f"/workflow_execution/{number}/stop").status_code == 409


def wait_for(client: httpx.Client, number: int, states: set[str], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while client.get(f"/workflow_execution/{number}").json()["data"]["status"] not in states:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_delete_when_captured_then_the_record_stays(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served, ECHO, b"words: hi")
    captured, plain = (served.run_to_end(user, executed(user, workflow)) for _ in range(2))
    number = captured["execution_id"]
    assert user.post(f"/provenance/capture/{number}").status_code == 200
    with served.client_as("user_2") as colleague:
        assert colleague.delete("/workflow_execution/delete", params={"registry_id": workflow}).status_code == 403
    both = {"registry_id": workflow, "reana_name": captured["reana_name"]}
    assert user.delete("/workflow_execution/delete", params=both).status_code == 403
    answer = user.delete("/workflow_execution/delete", params={"reana_name": captured["reana_name"]})
    assert sorted(answer.json()["data"]["deleted"]) == sorted([number, plain["execution_id"]])
    assert user.get(f"/workflow_execution/{number}").status_code == 404
    assert user.get(f"/workflow_execution/files/{captured['outputs']['said']['id']}").status_code == 404
    assert user.get(f"/provenance/json/{number}").status_code == 200
    assert user.get(f"/provenance/json/{plain['execution_id']}").status_code == 404
    assert user.delete("/workflow_execution/delete", params={"registry_id": workflow}).status_code == 404


def test_delete_when_it_still_runs_then_stops_it_first(served: Served, user: httpx.Client) -> None:
    workflow = registered(user, served, SLOW)
    number = executed(user, workflow, json={"inputs": {"pause": 20.0}})
    wait_for(user, number, {"running"})
    answer = user.delete("/workflow_execution/delete", params={"registry_id": workflow})
    assert answer.json()["data"]["deleted"] == [number], answer.text


def test_provenance_when_asked_in_each_form_then_answers(served: Served, user: httpx.Client) -> None:
    run = served.run_to_end(user, executed(user, registered(user, served, ECHO), json={"inputs": {"words": "hi"}}))
    number = run["execution_id"]
    named = {"reana_name": run["reana_name"], "reana_run_number": run["reana_run_number"]}
    before = user.get(f"/provenance/json/{number}")
    assert "entity" in before.json()
    assert user.get(f"/provenance/export/{number}", params={"format": "json"}).content == before.content
    assert user.get(f"/provenance/export/{number}", params={"format": "provn"}).text.startswith("document")
    assert user.get("/provenance/draw", params=named).content.startswith(b"\x89PNG")
    drawn = user.get(f"/provenance/draw/{number}", params={"format": "svg"})
    assert drawn.content.startswith(b"<?xml")
    assert "sandbox" in drawn.headers["content-security-policy"]
    captured = user.get("/provenance/capture", params=named)
    assert len(captured.json()["data"]["sha256"]) == 64
    for again in (user.post(f"/provenance/capture/{number}"), user.get(f"/provenance/capture/{number}")):
        assert again.status_code == 403
        assert "captured before" in again.json()["message"]
    assert user.post("/provenance/capture", params=named).status_code == 403
    assert user.get(f"/workflow_execution/{number}").json()["data"]["captured"] is True


def test_provenance_when_captured_then_the_very_bytes_come_back(served: Served, user: httpx.Client) -> None:
    import hashlib

    run = served.run_to_end(user, executed(user, registered(user, served, ECHO), json={"inputs": {"words": "hi"}}))
    captured = user.post(f"/provenance/capture/{run['execution_id']}").json()["data"]
    document = user.get(f"/provenance/json/{run['execution_id']}").content
    assert hashlib.sha256(document).hexdigest() == captured["sha256"]


def events_of(client: httpx.Client, number: int, **headers: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    with client.stream("GET", f"/workflow_execution/{number}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            else:
                found.append(event)
                event = {}
    return [event for event in found if "event" in event]


def test_events_when_followed_live_then_all_come_and_can_be_resumed(served: Served, user: httpx.Client) -> None:
    number = executed(user, registered(user, served, SLOW), json={"inputs": {"pause": 0.1}, "nowait": True})
    found = events_of(user, number)
    told = [json.loads(event["data"]) for event in found]
    assert [event["status"] for event in told if event.get("step_id") is None] == [
        "queued", "pending", "running", "finished", "finished",
    ]  # fmt: skip
    assert [event["status"] for event in told if event.get("step_id")] == ["running", "finished"]
    assert found[-1]["event"] == "end"
    assert {event["event"] for event in found[:-1]} == {"run", "step"}
    numbers = [int(event["id"]) for event in found[:-1]]
    assert numbers == sorted(set(numbers))
    resumed = events_of(user, number, **{"Last-Event-ID": str(numbers[1])})
    assert [event.get("id") for event in resumed] == [event.get("id") for event in found[2:]]
    for nonsense in ("x", "-1", "9" * 40):
        assert len(events_of(user, number, **{"Last-Event-ID": nonsense})) == len(found)


def test_events_when_nothing_happens_then_comments_keep_it_alive(idle: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from stemma.api.routes import following

    monkeypatch.setattr(following, "HEARTBEAT_SECONDS", 0.2)
    with idle.client_as("user_1") as client:
        workflow = registered(client, idle, ECHO, b"words: x")
        number = executed(client, workflow, params={"nowait": True})
        comments = 0
        with client.stream("GET", f"/workflow_execution/{number}/events") as answer:
            for line in answer.iter_lines():
                comments += line.startswith(":")
                if comments == 2:
                    client_ = idle.client_as("user_1")
                    client_.post(f"/workflow_execution/{number}/stop")
                    client_.close()
        assert comments >= 2
        assert events_of(client, number)[-1]["data"] == '{"status":"stopped"}'


def test_logs_when_followed_then_lines_come_while_it_runs(served: Served, user: httpx.Client) -> None:
    number = executed(user, registered(user, served, LOUD), json={"inputs": {"pause": 0.4}})
    came: list[tuple[str, bool]] = []
    with user.stream("GET", f"/workflow_execution/{number}/logs", params={"follow": True}) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        with served.client_as("user_1") as other:
            for line in answer.iter_lines():
                is_over = other.get(f"/workflow_execution/{number}").json()["data"]["end_time"] is not None
                came.append((line, is_over))
    lines = [line for line, _ in came]
    assert [line for line in lines if line.startswith("line")] == [f"line {n}" for n in range(1, 6)]
    assert [line for line in lines if line.startswith("oops")] == [f"oops {n}" for n in range(1, 6)]
    assert "unfinished" in lines
    assert {("line 1", False), ("oops 1", False), ("line 3", False)} <= set(came)
    served.run_to_end(user, number)
    again = user.get(f"/workflow_execution/{number}/logs", params={"follow": True}).text
    assert sorted(again.splitlines()) == sorted(lines)


def test_logs_when_the_document_keeps_the_output_then_all_is_there_at_the_end(
    served: Served, user: httpx.Client
) -> None:
    number = executed(user, registered(user, served, SLOW), json={"inputs": {"pause": 0.05}})
    text = user.get(f"/workflow_execution/{number}/logs", params={"follow": True}).text
    assert set(text.splitlines()) >= {"line 1", "line 5", "oops 5", "unfinished"}


def test_logs_when_there_are_several_steps_then_each_has_its_own(served: Served, user: httpx.Client) -> None:
    noisy = COPY.replace(b"baseCommand: [cat]", b"baseCommand: [sh, -c, 'cat \"$0\"; echo noise >&2']")
    texts = [{"class": "File", "basename": f"{name}.txt", "contents": f"{name}\n"} for name in "ab"]
    number = executed(user, registered(user, served, noisy), json={"inputs": {"texts": texts}})
    assert served.run_to_end(user, number)["status"] == "finished"
    whole = user.get(f"/workflow_execution/{number}/logs").json()["data"]
    tools = {log["key"]: log for log in whole["logs"] if log["stderr"]}
    assert set(tools) == {"copy[0]", "copy[1]"}
    assert tools["copy[0]"]["stderr"] == "noise\n"
    one = user.get(f"/workflow_execution/{number}/logs", params={"step": "copy[1]"}).json()["data"]["logs"]
    assert [log["key"] for log in one] == ["copy[1]"]
    both = user.get(f"/workflow_execution/{number}/logs", params={"step": "copy"}).json()["data"]["logs"]
    assert {log["key"] for log in both} == {"copy[0]", "copy[1]"}
    text = user.get(f"/workflow_execution/{number}/logs", params={"follow": True}).text
    assert {"[copy[0]] noise", "[copy[1]] noise"} <= set(text.splitlines())
    assert user.get(f"/workflow_execution/{number}/logs", params={"step": "nothing"}).status_code == 404


def test_logs_when_long_then_only_the_end_is_shown_unless_named(served: Served, user: httpx.Client) -> None:
    long = b"""
cwlVersion: v1.2
class: CommandLineTool
requirements: {ShellCommandRequirement: {}}
arguments: [{shellQuote: false, valueFrom: "seq 1 30000 >&2"}]
inputs: []
outputs: []
"""
    number = executed(user, registered(user, served, long))
    run = served.run_to_end(user, number)
    assert run["status"] == "finished", json.dumps(run, ensure_ascii=False)
    short = user.get(f"/workflow_execution/{number}/logs").json()["data"]["logs"][-1]
    assert short["truncated"] is True
    assert short["stderr"].endswith("29999\n30000\n")
    assert len(short["stderr"]) <= 64 * 1024
    named = user.get(f"/workflow_execution/{number}/logs", params={"step": short["step_id"]}).json()["data"]["logs"][0]
    assert named["truncated"] is False
    assert named["stderr"].startswith("1\n2\n")
    followed = user.get(f"/workflow_execution/{number}/logs", params={"follow": True}).text
    assert followed.split() == [str(n) for n in range(1, 30001)]


def test_streams_when_many_are_open_then_other_requests_go_on(idle: Served) -> None:
    with idle.client_as("user_1") as client:
        workflow = registered(client, idle, ECHO, b"words: x")
        number = executed(client, workflow, params={"nowait": True})
        ended: list[int] = []

        def listen() -> None:
            with idle.client_as("user_1") as listener:
                ended.append(len(events_of(listener, number)))

        threads = [threading.Thread(target=listen) for _ in range(50)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        for _ in range(20):
            assert client.get("/workflow_registry").status_code == 200
        assert time.monotonic() - began < 5
        client.post(f"/workflow_execution/{number}/stop")
        for thread in threads:
            thread.join(20)
        assert ended == [3] * 50
