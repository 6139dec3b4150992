"""The Python client against a real service: the whole contract, its page of documentation, large files."""

import io
import json
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from stemma.client import Attachment, Client, PasswordTokens, login_ways
from stemma.errors import (
    AlreadyCaptured,
    AmbiguousSelection,
    FileNotFound,
    Forbidden,
    InvalidDocument,
    InvalidInputs,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    RunEnded,
    RunNotEnded,
    RunNotFound,
    StepNotFound,
    WorkflowNotFound,
)
from stemma.states import RunState

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
ECHO = b"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {text: {type: File, inputBinding: {}}, times: int?}
stdout: said.txt
outputs: {said: stdout}
"""
SLEEP = b"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: sleep
inputs: {seconds: {type: int, inputBinding: {}}}
outputs: []
"""
TEXT = {"text": {"class": "File", "location": "a.txt"}}


def a_client(served, username="user_1"):
    return Client(served.url, PasswordTokens(served.url, username, username.replace("user", "password")))


@pytest.fixture
def client(served):
    with a_client(served) as opened:
        yield opened


def written(call, *arguments, **more):
    target = io.BytesIO()
    call(*arguments, target, **more)
    return target.getvalue()


def a_run(client, served, **more):
    registered = client.workflows.register(name=served.name(), version="1", spec=Attachment("echo.cwl", ECHO))
    files = [Attachment("a.txt", b"some words")]
    return registered, client.runs.submit(registered.id, inputs=TEXT, files=files, **more)


def test_registry_when_used_by_the_client_then_does_all_of_the_contract(client, served):
    name, spec = served.name(), Attachment("echo.cwl", ECHO)
    assert client.workflows.validate(spec=spec)["structure"]["cwl_class"] == "CommandLineTool"
    made = client.workflows.register(
        name=name, version="1", spec=spec, inputs=Attachment("in.yml", b"times: 2"), group="group1"
    )
    entry = client.workflows.get(made.id)
    assert (entry.name, entry.version, entry.group, entry.revision) == (name, "1", "group1", 1)
    assert client.workflows.find(name, "1") == entry
    assert [found.id for found in client.workflows.list(name=name)] == [made.id]
    assert written(client.workflows.spec, made.id) == ECHO
    assert written(client.workflows.inputs, made.id) == b"times: 2"
    assert client.workflows.structure(made.id)["structure"]["inputs"][0]["id"] == "text"
    assert written(client.workflows.diagram, made.id).startswith(PNG)
    assert b"<svg" in written(client.workflows.diagram, made.id, picture_format="svg")
    assert not client.workflows.update(made.id, spec=spec).changed
    changed = client.workflows.update(made.id, version="2", spec=Attachment("echo.cwl", ECHO + b"# more\n"))
    assert (changed.revision, client.workflows.get(made.id).version) == (2, "2")
    assert [revision.number for revision in client.workflows.revisions(made.id)] == [2, 1]
    assert written(client.workflows.spec, made.id, revision=1) == ECHO
    with a_client(served, "user_2") as other, pytest.raises(Forbidden):
        other.workflows.delete(made.id)
    client.workflows.delete(made.id)
    with pytest.raises(WorkflowNotFound):
        client.workflows.get(made.id)
    with pytest.raises(WorkflowNotFound):
        client.workflows.find(name, "2")
    with pytest.raises(InvalidDocument) as refused:
        client.workflows.validate(spec=Attachment("bad.cwl", b"cwlVersion: v1.2\nclass: Nothing\n"))
    assert refused.value.findings


def test_execution_when_used_by_the_client_then_does_all_of_the_contract(client, served):
    registered, queued = a_run(client, served)
    run = client.runs.wait(queued.id)
    assert (run.state, run.workflow_id, run.steps[0].exit_code) == (RunState.FINISHED, registered.id, 0)
    said = run.outputs["said"]
    target = io.BytesIO()
    came = client.runs.file(said["id"], target, sha256=said["checksum"].removeprefix("sha256:"))
    assert (target.getvalue(), came.size_bytes) == (b"some words", 10)
    for named in (run.id, (run.name, run.number)):
        outputs = zipfile.ZipFile(io.BytesIO(written(client.runs.outputs, named)))
        assert "outputs.json" in outputs.namelist()
        assert "inputs.json" in zipfile.ZipFile(io.BytesIO(written(client.runs.inputs, named))).namelist()
    assert client.runs.logs(run.id)["status"] == "finished"
    assert list(client.runs.follow_logs(run.id)) == ["some words"]
    events = list(client.runs.watch(run.id))
    assert [event.state for event in events if event.step_key is None][-1] == "finished"
    assert list(client.runs.watch(run.id, after=events[1].id)) == events[2:]
    assert [found.id for found in client.runs.list(workflow_id=registered.id, status="finished")] == [run.id]
    assert list(client.runs.list(workflow_id=registered.id, status="failed")) == []
    with pytest.raises(RunEnded):
        client.runs.stop(run.id)
    with pytest.raises(StepNotFound):
        client.runs.logs(run.id, step="none")
    with pytest.raises(AmbiguousSelection):
        client.runs.delete()
    assert client.runs.delete(name=run.name)["deleted"] == [run.id]
    with pytest.raises(RunNotFound):
        client.runs.get(run.id)
    with pytest.raises(FileNotFound):
        client.runs.file(10**9, io.BytesIO())


def test_run_when_the_first_word_is_waited_for_then_the_engine_has_it(client, served):
    _, run = a_run(client, served, nowait=False, engine="cwltool")
    assert run.raw["reana_id"]
    assert client.runs.wait(run.id).state is RunState.FINISHED


def test_run_when_its_inputs_come_as_a_file_then_are_those(client, served):
    registered = client.workflows.register(name=served.name(), version="1", spec=Attachment("sleep.cwl", SLEEP))
    run = client.runs.submit(registered.id, inputs=Attachment("in.yml", b"seconds: 0"), revision=1)
    assert client.runs.wait(run.id).raw["inputs"] == {"seconds": 0}
    with pytest.raises(InvalidInputs):
        client.runs.submit(registered.id, inputs={"seconds": "long"})


def test_run_when_stopped_by_the_client_then_stops(client, served):
    registered = client.workflows.register(name=served.name(), version="1", spec=Attachment("sleep.cwl", SLEEP))
    run = client.runs.submit(registered.id, inputs={"seconds": 300})
    for event in client.runs.watch(run.id):
        if event.state == "running":
            with pytest.raises(RunNotEnded):
                client.runs.outputs(run.id, io.BytesIO())
            client.runs.stop(run.id)
            break
    assert client.runs.wait(run.id).state is RunState.STOPPED


def test_runs_when_there_are_many_then_come_page_by_page(client, served):
    registered = client.workflows.register(name=served.name(), version="1", spec=Attachment("sleep.cwl", SLEEP))
    made = [client.runs.submit(registered.id, inputs={"seconds": 0}).id for _ in range(55)]
    assert [run.id for run in client.runs.list(workflow_id=registered.id)] == made[::-1]
    assert [run.id for run in client.runs.list(workflow_id=registered.id, limit=53)] == made[:1:-1]
    client.runs.delete(workflow_id=registered.id)


def test_provenance_when_used_by_the_client_then_does_all_of_the_contract(client, served):
    run = client.runs.wait(a_run(client, served)[1].id)
    name = (run.name, run.number)
    assert written(client.provenance.draw, run.id).startswith(PNG)
    assert b"<svg" in written(client.provenance.draw, name, picture_format="svg")
    assert len(client.provenance.capture(name)["sha256"]) == 64
    with pytest.raises(AlreadyCaptured):
        client.provenance.capture(run.id)
    record = written(client.provenance.prov_json, run.id)
    assert "activity" in json.loads(record)
    assert written(client.provenance.export, run.id, document_format="json") == record
    assert written(client.provenance.export, run.id).startswith(b"document")


def test_steps_when_told_of_by_the_client_then_each_has_its_answer(client, served):
    entry = client.workflows.register(name=served.name(), version="1", spec=Attachment("echo.cwl", ECHO)).id
    [step] = client.workflows.structure(entry)["structure"]["steps"]
    event = {"registry_id": entry, "step": step["path"], "state": "added"}
    told = client.runs.tell([event, {**event, "step": "none"}])
    assert [one["result"] for one in told["events"]] == ["taken", "refused"]
    with pytest.raises(NotFound, match="no workflow 777777"):
        client.runs.tell([{**event, "registry_id": 777_777}])
    with pytest.raises(InvalidRequest, match=step["path"]):
        client.runs.tell([{**event, "step": "none"}])


def test_service_when_asked_by_the_client_then_tells_of_itself(client, served):
    assert client.health()["status"] == "alive"
    assert client.readiness()["database"] == "ready"
    assert client.whoami()["groups"] == ["group1"]
    assert "# TYPE" in client.metrics()
    assert client.login_ways() == login_ways(f"{served.url}/")
    assert client.login_ways().is_own
    assert client.login_ways().token_url == f"{served.url}/auth/token"
    with Client(served.url, PasswordTokens(served.url, "user_1", "wrong")) as other, pytest.raises(NotAuthenticated):
        other.whoami()


def test_things_of_another_group_when_asked_for_by_the_client_then_are_not_there(client, served):
    registered, run = a_run(client, served)
    with a_client(served, "user_4") as stranger:
        for ask in (
            lambda: stranger.workflows.get(registered.id),
            lambda: stranger.runs.get(run.id),
            lambda: stranger.runs.outputs(run.id, io.BytesIO()),
            lambda: next(stranger.runs.watch(run.id)),
            lambda: stranger.provenance.draw(run.id, io.BytesIO()),
        ):
            with pytest.raises(NotFound):
                ask()


def test_page_of_the_client_when_its_examples_are_run_then_they_work(served, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = ROOT / "examples" / "first"
    (tmp_path / "origin.txt").write_bytes((first / "origin.txt").read_bytes())
    with zipfile.ZipFile("words.zip", "w") as archive:
        for path in first.glob("*.cwl"):
            archive.write(path, path.name)
    page = (ROOT / "docs" / "client.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    name = served.name("words")
    names = {}
    try:
        for block in blocks:
            adapted = block.replace("http://localhost:8000", served.url).replace('"words"', repr(name))
            exec(compile(adapted, "docs/client.md", "exec"), names)
    finally:
        names["client"].close()
    said = capsys.readouterr().out
    assert "rank finished" in said
    assert "bad.cwl:3:1" in said
    assert "was captured before" in said
    assert (tmp_path / "ranking.csv").stat().st_size > 0
    assert (tmp_path / "provenance.png").read_bytes().startswith(PNG)


MEASURED = """
import os, resource, sys
from stemma.client import Attachment, Client, PasswordTokens

url, size = sys.argv[1], int(sys.argv[2])
spec = Attachment("echo.cwl", sys.argv[3].encode())
with open("big", "wb") as file:
    file.truncate(size)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

with Client(url, PasswordTokens(url, "user_1", "password_1"), timeout_seconds=600) as client:
    number = client.workflows.register(name=sys.argv[4], version="1", spec=spec).id
    before = peak()
    inputs = {"text": {"class": "File", "location": "big"}}
    run = client.runs.wait(client.runs.submit(number, inputs=inputs, files=[Attachment.of_path("big")]).id)
    up = peak()
    with open("came", "wb") as target:
        came = client.runs.file(run.outputs["said"]["id"], target)
    print(came.size_bytes, (up - before) // 1024, (peak() - up) // 1024)
"""


@pytest.mark.slow
def test_large_file_when_sent_and_fetched_then_memory_stays_as_it_is(served, tmp_path):
    if "mysql" in str(served.installation.settings.effective_database_url):
        pytest.skip("the database has no part in it; it runs with SQLite")
    size = 300 * 1024 * 1024
    arguments = [served.url, str(size), textwrap.dedent(ECHO.decode()), served.name()]
    command = [sys.executable, "-c", MEASURED, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    came, up, down = map(int, done.stdout.split())
    assert came == size
    assert up < 30
    assert down < 30
