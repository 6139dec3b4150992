"""The WES engine where servers differ from the standard, and from one another: states, times, tasks, outputs."""

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stemma.engines.protocol import FileSeen, JobState, Report, StepEnded, StepStarted
from stemma.engines.wes.answers import Log, moment
from stemma.engines.wes.states import meaning, sentence
from stemma.errors import EngineRefused, EngineUnreachable
from stemma.records import FileKind
from stemma.states import StepState
from support.scripted_http import Answered, scripted
from support.wes_bench import WesBench
from support.wes_scripted import HANDED_THROUGH, SECRET, TOOL, ScriptedWes, always, once, said, scripted_wes, start

RUNNER_PLACE = "file:///srv/runs/1/outputs"
FOLDERS = """
cwlVersion: v1.2
class: Workflow
inputs: {text: File}
steps: {}
outputs:
  many: {type: "File[]", outputSource: step/many}
  folder: {type: Directory, outputSource: step/folder}
  number: {type: int, outputSource: step/number}
  nothing: {type: "File?", outputSource: step/nothing}
"""


@pytest.fixture
def wes(tmp_path: Path):
    with scripted_wes(tmp_path, files_root=tmp_path / "shared") as both:
        yield both


def finish(server: ScriptedWes, bench: WesBench, reference: str, outputs: Any = None, **log: Any) -> Report:
    """Let the run end well, and look."""
    server.only_run.state = "COMPLETE"
    server.only_run.log = {"outputs": outputs, **log}
    return bench.engine.report(reference, "")


def file_at(location: str, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": location, **more}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("QUEUED", JobState.PENDING),
        ("INITIALIZING", JobState.PENDING),
        ("UNKNOWN", JobState.PENDING),
        ("a word of its own", JobState.PENDING),
        ("", JobState.PENDING),
        ("running", JobState.RUNNING),
        ("PAUSED", JobState.RUNNING),
        ("EXECUTOR_ERROR", JobState.FAILED),
        ("SYSTEM_ERROR", JobState.FAILED),
        ("CANCELED", JobState.STOPPED),
        ("PREEMPTED", JobState.LOST),
        ("DELETED", JobState.LOST),
    ],
)
def test_report_when_the_server_says_a_state_then_it_means_this(wes, state: str, expected: JobState) -> None:
    server, bench = wes
    server.new_state = state
    reference, _ = start(bench)
    report = bench.engine.report(reference, "")
    assert report.state is expected
    assert (report.reason is not None) is expected.is_terminal
    assert bench.engine.report(reference, "").state is expected


@pytest.mark.parametrize("state", ["UNKNOWN", "CANCELING"])
def test_report_when_the_state_does_not_tell_then_it_is_what_it_was(wes, state: str) -> None:
    server, bench = wes
    reference, _ = start(bench)
    assert bench.engine.report(reference, "").state is JobState.RUNNING
    server.only_run.state = state
    assert bench.engine.report(reference, "").state is JobState.RUNNING


def test_states_when_they_end_a_job_then_each_but_success_has_a_sentence() -> None:
    ends = ["EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"]
    assert all(sentence(state) and meaning(state) for state in ends)
    assert sentence("COMPLETE") is None


def test_report_when_the_server_forgets_the_run_then_lost(wes, monkeypatch: pytest.MonkeyPatch) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.runs.clear()
    assert bench.engine.report(reference, "").state is JobState.PENDING
    monkeypatch.setattr("stemma.engines.wes.following._UNSEEN_SECONDS", 0.0)
    report = bench.engine.report(reference, "")
    assert (report.state, "does not know it" in report.reason) == (JobState.LOST, True)


NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2026-03-04T12:00:00Z", NOON),
        ("2026-03-04T13:00:00+01:00", NOON),
        ("2026-03-04T12:00:00", NOON),
        ("2026-03-04 12:00:00 UTC", NOON),
        ("2026-03-04T12:00:00.000000000Z", NOON),
        ("Wed, 04 Mar 2026 12:00:00 GMT", NOON),
        (NOON.timestamp(), NOON),
        (int(NOON.timestamp() * 1000), NOON),
        (str(int(NOON.timestamp())), NOON),
        (None, None),
        ("", None),
        ("soon", None),
        (True, None),
        (1e300, None),
        ([], None),
        ("9" * 400, None),
    ],
)
def test_moment_when_told_in_some_form_then_aware_and_in_utc(told: Any, expected: datetime | None) -> None:
    found = moment(told)
    assert found == expected
    assert found is None or found.tzinfo is UTC


def test_log_when_its_parts_have_wrong_forms_then_they_count_as_not_said() -> None:
    log = Log.model_validate({"id": 7, "name": ["a"], "cmd": "one text", "exit_code": "3", "stdout": "", "stderr": 4})
    assert (log.id, log.name, log.cmd, log.exit_code, log.stdout, log.stderr) == (
        "7",
        None,
        ("one text",),
        3,
        None,
        None,
    )
    assert Log.model_validate({"exit_code": True, "cmd": [1, "a"]}).exit_code is None


def test_submit_when_ids_are_numbers_and_lists_have_another_name_then_the_same(wes) -> None:
    server, bench = wes
    server.ids, server.list_key = (lambda number: 100 + number), "workflows"

    def taken(asked: Any) -> Answered:
        return Answered(200, server.take(asked).body, cut_after=3)

    server.faults["POST /runs"] = once(taken)
    with pytest.raises(EngineUnreachable):
        start(bench)
    (run,) = bench.runs.iterdir()
    bench.engine.stop(f"{run.name}/1")
    assert server.only_run.state == "CANCELED"
    server.runs.clear()
    reference, _ = start(bench)
    assert bench.engine.report(reference, "").identity.id == "100"


def test_outputs_when_told_as_an_object_then_fetched_and_identified(wes) -> None:
    server, bench = wes
    reference, _ = start(bench, FOLDERS)
    server.files |= {"/runs/run-0/outputs/a": Answered(body=b"one"), "/elsewhere/b": Answered(body=b"three")}
    members = [
        file_at(f"{bench.engine._url}/elsewhere/b", basename="b"),
        {"class": "Directory", "basename": "empty", "listing": []},
    ]
    report = finish(
        server,
        bench,
        reference,
        {
            "many": [file_at("http://other.name:99/runs/run-0/outputs/a", basename="a", size=3)],
            "folder": {"class": "Directory", "basename": "folder", "listing": members},
            "number": 7,
            "undeclared": 8,
        },
    )
    assert report.state is JobState.FINISHED, report.reason
    assert (report.outputs["number"], report.outputs["nothing"]) == (7, None)
    assert report.environment["undeclared_outputs"] == ["undeclared"]
    seen = {fact.occurrence.position: fact.occurrence for fact in report.facts if isinstance(fact, FileSeen)}
    assert [seen[place].basename for place in ("[0]", "", ".listing[0]", ".listing[1]")] == [
        "a",
        "folder",
        "b",
        "empty",
    ]
    assert seen[".listing[0]"].parent == seen[""].uuid
    assert all(occurrence.step is None and occurrence.at for occurrence in seen.values())
    contents = {file.occurrence: file.path.read_bytes() for file in bench.engine.outputs(reference)}
    assert contents == {seen["[0]"].uuid: b"one", seen[".listing[0]"].uuid: b"three"}
    assert seen["[0]"].content.sha256 == hashlib.sha256(b"one").hexdigest()
    assert bench.reopened().report(reference, "") == report


def test_outputs_when_listed_then_the_runner_s_object_tells_which_is_which(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.files["/runs/run-0/outputs/d/made%20it.txt"] = Answered(body=b"made")
    sha1 = hashlib.sha1(b"made").hexdigest()
    printed = {"made": file_at(f"{RUNNER_PLACE}/d/made%20it.txt", basename="made it.txt", checksum=f"sha1${sha1}")}
    listed = [{"file_name": "d/made it.txt", "file_url": "http://0.0.0.0:1/runs/run-0/outputs/d/made%20it.txt"}]
    report = finish(server, bench, reference, listed, run_log={"stdout": json.dumps(printed)})
    assert report.state is JobState.FINISHED, report.reason
    assert report.outputs["made"]["basename"] == "made it.txt"


@pytest.mark.parametrize(
    "listed", [[{"name": "made", "location": "/runs/run-0/x"}], [{"name": "dir/x", "url": "outputs/x"}]]
)
def test_outputs_when_listed_without_more_and_only_one_can_be_meant_then_it_is(wes, listed: Any) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.files |= dict.fromkeys(("/runs/run-0/x", "/runs/run-0/outputs/x"), Answered(body=b"made"))
    report = finish(server, bench, reference, listed)
    assert (report.state, report.outputs["made"]["basename"]) == (JobState.FINISHED, "x"), report.reason


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (None, "does not tell the outputs 'made'"),
        ({}, "does not tell the outputs 'made'"),
        ("text", "does not tell the outputs 'made'"),
        ({"made": None}, "does not tell the outputs 'made'"),
        ([{"name": "a", "url": "u"}, {"name": "b", "url": "v"}], "does not tell which output"),
        ([7], "names and places"),
        ({"made": file_at("http://elsewhere.example.org/x")}, "on another server"),
        ({"made": file_at("s3://bucket/x")}, "not reached by http"),
        ({"made": file_at("x", basename="../x")}, "which is none"),
        ({"made": file_at("x", basename="a/b")}, "which is none"),
        ({"made": file_at("x", basename="n" * 300)}, "which is none"),
        ({"made": file_at("x", basename=7)}, "which is none"),
        ({"made": file_at("http://[bad/x", basename="x")}, "on another server"),
        ({"made": file_at("http://[bad/x")}, "which is no URL"),
        ({"made": file_at("x" * 70_000, basename="x")}, "which is no URL"),
        ({"made": file_at("gone", basename="x")}, "404"),
        ({"made": {"class": "File"}}, "which is none"),
        ({"made": {"class": "File", "basename": "x"}}, "does not tell where"),
        ({"made": {"class": "Directory", "basename": "x"}}, "does not tell what is in"),
        ({"made": {"class": "Directory", "basename": "x", "listing": [7]}}, "are no files"),
        ({"made": file_at("file:///etc/hostname", basename="x")}, "is not below STEMMA_WES_FILES_ROOT"),
        ({"made": file_at("there", basename="x", checksum="sha1$" + "0" * 40)}, "it should have the sha1"),
        ({"made": file_at("there", basename="x", checksum="sha256:" + "0" * 64)}, "it should have the sha256"),
        ({"made": file_at("there", basename="x", size=99)}, "it should have 99 bytes"),
    ],
)
def test_outputs_when_they_cannot_be_had_then_failed_with_the_reason(wes, outputs: Any, words: str) -> None:
    server, bench = wes
    (bench.runs.parent / "shared").mkdir()
    reference, _ = start(bench)
    server.files["/runs/run-0/there"] = Answered(body=b"there")
    report = finish(server, bench, reference, outputs)
    assert report.state is JobState.FAILED
    assert words in report.reason
    assert not any(isinstance(fact, FileSeen) for fact in report.facts)


def test_outputs_when_nested_without_end_then_refused(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    value: Any = 1
    for _ in range(500):
        value = [value]
    report = finish(server, bench, reference, {"made": value})
    assert "nested too deeply" in report.reason


def test_outputs_when_on_a_shared_disk_then_only_what_lies_there(wes) -> None:
    server, bench = wes
    shared = bench.runs.parent / "shared"
    (shared / "folder" / "inner").mkdir(parents=True)
    (shared / "folder" / "a b").write_bytes(b"one")
    (shared / "out").symlink_to("/etc")
    reference, _ = start(bench, FOLDERS)
    told = {
        "many": [],
        "number": 0,
        "folder": {"class": "Directory", "basename": "f", "location": str(shared / "folder")},
    }
    report = finish(server, bench, reference, told)
    assert report.state is JobState.FINISHED, report.reason
    kinds = {fact.occurrence.basename: fact.occurrence.kind for fact in report.facts if isinstance(fact, FileSeen)}
    assert kinds == {"f": FileKind.DIRECTORY, "a b": FileKind.FILE, "inner": FileKind.DIRECTORY}


@pytest.mark.parametrize("place", ["out/hostname", "folder/../../secret", "pipe", "gone"])
def test_outputs_when_a_shared_place_leads_out_then_refused(wes, place: str) -> None:
    server, bench = wes
    shared = bench.runs.parent / "shared"
    (shared / "folder").mkdir(parents=True)
    (shared.parent / "secret").write_bytes(b"secret")
    (shared / "out").symlink_to("/etc")
    os.mkfifo(shared / "pipe")
    reference, _ = start(bench)
    report = finish(server, bench, reference, {"made": file_at(f"file://{shared}/{place}", basename="x")})
    assert (report.state, report.outputs) == (JobState.FAILED, None)


def test_outputs_when_no_disk_is_shared_then_the_reason_says_what_to_set(tmp_path: Path) -> None:
    with scripted_wes(tmp_path) as (server, bench):
        reference, _ = start(bench)
        report = finish(server, bench, reference, {"made": file_at("file:///srv/x")})
        assert "set STEMMA_WES_FILES_ROOT" in report.reason


def test_outputs_when_a_download_is_cut_then_tried_again_without_doubles(wes) -> None:
    server, bench = wes
    reference, _ = start(bench, FOLDERS)
    server.files["/runs/run-0/a"] = Answered(body=b"one")
    server.files["/runs/run-0/b"] = Answered(body=b"a long text", cut_after=4)
    told = {
        "many": [file_at("a"), file_at("b")],
        "number": 1,
        "folder": {"class": "Directory", "basename": "f", "listing": []},
    }
    with pytest.raises(EngineUnreachable, match="broke off"):
        finish(server, bench, reference, told)
    server.files["/runs/run-0/b"] = Answered(body=b"a long text")
    report = bench.engine.report(reference, "")
    assert report.state is JobState.FINISHED
    assert len([fact for fact in report.facts if isinstance(fact, FileSeen)]) == 3
    assert len(server.asked("GET /runs/run-0/a")) == 2  # once to see whether it is there, once to fetch it


def test_outputs_when_more_than_may_be_then_refused(tmp_path: Path) -> None:
    with scripted_wes(tmp_path, output_bytes=1000) as (server, bench):
        reference, _ = start(bench)
        server.files["/runs/run-0/a"] = Answered(body=b"x" * 1001)
        report = finish(server, bench, reference, {"made": file_at("a")})
        assert "larger than may be" in report.reason


def test_outputs_when_the_document_hands_an_input_through_then_it_is_that_input(wes) -> None:
    server, bench = wes
    reference, job = start(bench, HANDED_THROUGH)
    server.files["/runs/run-0/a"] = Answered(body=b"a text")
    report = finish(server, bench, reference, {"made": file_at("a", basename="text.txt")})
    assert report.outputs["made"]["stemma:occurrence"] == job.inputs["text"]["stemma:occurrence"]
    assert report.facts == ()


def test_outputs_when_handed_through_but_changed_then_a_file_of_its_own(wes) -> None:
    server, bench = wes
    reference, job = start(bench, HANDED_THROUGH)
    server.files["/runs/run-0/a"] = Answered(body=b"another text")
    report = finish(server, bench, reference, {"made": file_at("a", basename="text.txt")})
    assert report.outputs["made"]["stemma:occurrence"] != job.inputs["text"]["stemma:occurrence"]


def test_credential_when_outputs_lie_at_another_port_then_not_shown_there(tmp_path: Path) -> None:
    with (
        scripted(always(200, b"made")) as other,
        scripted_wes(tmp_path, credential=lambda _: SecretStr(SECRET)) as (server, bench),
    ):
        reference, _ = start(bench)
        server.files["/made"] = Answered(302, headers={"Location": f"{other.url}/made"})
        report = finish(server, bench, reference, {"made": file_at(f"{bench.engine._url}/made")})
        assert report.state is JobState.FINISHED, report.reason
        assert "authorization" in server.asked("GET /made")[0].headers
        assert "authorization" not in other.asked[0].headers


TASKS = [
    {"id": 1, "name": "first", "cmd": ["cat", "x"], "start_time": "2026-03-04T12:00:00", "end_time": "2026-03-04T12:00:05",
     "exit_code": 0, "stdout": "words\n"},
    {"id": 2, "name": "first", "start_time": "2026-03-04T12:00:01", "end_time": "2026-03-04T11:00:00", "exit_code": "4"},
    {"id": 3, "name": "running", "start_time": "2026-03-04T12:00:02"},
    {"id": 4, "name": "without times", "exit_code": 0},
]  # fmt: skip


def steps_of(report: Report) -> None:
    started = [fact for fact in report.facts if isinstance(fact, StepStarted)]
    ended = [fact for fact in report.facts if isinstance(fact, StepEnded)]
    assert [(step.key, step.backend_job_id) for step in started] == [
        ("first", "1"),
        ("first #2", "2"),
        ("running", "3"),
    ]
    assert started[0].command == ("cat", "x")
    assert [(step.state, step.exit_code) for step in ended] == [(StepState.FINISHED, 0), (StepState.FAILED, 4)]
    assert ended[0].stdout_tail == "words"
    assert ended[1].at == started[1].at, "it cannot end before it began"


def test_tasks_when_they_are_in_the_run_log_then_steps_written_once(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.only_run.log = {"task_logs": TASKS}
    first = bench.engine.report(reference, "")
    assert first.state is JobState.RUNNING
    assert bench.engine.report(reference, first.cursor).facts == ()
    server.only_run.state = "EXECUTOR_ERROR"
    report = bench.engine.report(reference, "")
    steps_of(report)
    assert report.environment["steps"] == "told by the server; 1 of its 4 tasks have no times and are left out"
    assert report.environment["tasks_without_times"] == [{"name": "without times", "exit_code": 0}]
    step = next(fact.uuid for fact in report.facts if isinstance(fact, StepStarted))
    with bench.engine.log(reference, step, "stdout") as log:
        assert log.read() == b"words\n"


def test_tasks_when_they_come_in_pages_then_all_and_no_endless_turning(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    path = "/runs/run-0/tasks"
    server.files[path] = said({"task_logs": TASKS[:2], "next_page_token": "more"})
    server.files[f"{path}?page_token=more"] = said({"task_logs": TASKS[2:], "next_page_token": "more"})
    server.only_run.state = "SYSTEM_ERROR"
    steps_of(bench.engine.report(reference, ""))


def test_tasks_when_a_write_was_torn_then_nothing_is_told_twice(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.only_run.log = {"task_logs": TASKS}
    bench.engine.report(reference, "")
    journal = bench.journal(reference)
    journal.write_bytes(journal.read_bytes()[:-20])
    server.only_run.state = "SYSTEM_ERROR"
    report = bench.reopened().report(reference, "")
    steps_of(report)
    assert report.environment["steps"].startswith("told by the server")


def test_outputs_when_the_end_was_not_written_then_nothing_is_told_twice(wes) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.files["/runs/run-0/outputs/a"] = Answered(body=b"made")
    told = finish(server, bench, reference, {"made": file_at("/runs/run-0/outputs/a")})
    journal = bench.journal(reference)
    journal.write_bytes(journal.read_bytes()[:-20])
    report = bench.reopened().report(reference, "")
    assert (report.state, report.facts, report.outputs) == (told.state, told.facts, told.outputs)
    assert len(report.facts) == 1


@pytest.mark.parametrize(
    "told", ["words\nand more", "../logs/run-0/stderr", "/logs/run-0/stderr", "/usr/local/bin/tool"]
)
def test_log_when_told_as_text_or_as_a_place_then_its_text(wes, told: str) -> None:
    server, bench = wes
    reference, _ = start(bench)
    server.files |= dict.fromkeys(("/logs/run-0/stderr", "/runs/logs/run-0/stderr"), Answered(body=b"words\nand more"))
    server.only_run.log = {"run_log": {"stderr": told}}
    expected = told.encode() if told.startswith("/usr") else b"words\nand more"
    with bench.engine.log(reference, None, "stderr") as log:
        assert log.read() == expected
    server.only_run.state = "EXECUTOR_ERROR"
    report = bench.engine.report(reference, "")
    assert expected.decode() in report.reason
    server.runs.clear()
    with bench.engine.log(reference, None, "stderr") as log:
        assert log.read() == expected


@pytest.mark.parametrize(
    ("versions", "refused"),
    [
        ({"CWL": {"workflow_type_version": ["v1.0", "v1.2"]}}, False),
        ({"cwl": {"workflow_type_version": ["1.2"]}}, False),
        ({"CWL": ["v1.2"]}, False),
        ({"CWL": {}}, False),
        ({}, False),
        ([], False),
        ({"CWL": {"workflow_type_version": ["v1.0"]}}, True),
        ({"WDL": {"workflow_type_version": ["1.0"]}}, True),
    ],
)
def test_check_when_the_server_says_what_it_runs_then_it_counts(wes, versions: Any, refused: bool) -> None:
    server, bench = wes
    server.info = {"workflow_type_versions": versions}
    found = bench.engine.check(bench.revision({"main.cwl": TOOL}), "auto")
    assert [finding.rule for finding in found] == (["engine/cwl-version"] if refused else [])


def test_check_when_the_server_does_not_answer_then_nothing_is_found(wes) -> None:
    server, bench = wes
    server.faults["GET /service-info"] = always(500)
    assert bench.engine.check(bench.revision({"main.cwl": TOOL}), "auto") == []
    assert [finding.rule for finding in bench.engine.check(bench.revision({"main.cwl": TOOL}), "required")] == [
        "engine/containers"
    ]


def test_submit_when_the_server_has_several_engines_then_one_that_is_known_is_named(wes) -> None:
    server, bench = wes
    server.info = {"workflow_engine_versions": {"nextflow": "1", "toil": "2"}, "version": "3", "name": "n"}
    start(bench)
    fields = {name: body.decode() for name, file, body in server.only_run.form if file is None}
    assert fields["workflow_engine"] == "toil"
    assert bench.engine.probe() == "n 3"
    with pytest.raises(EngineRefused):
        server.faults["GET /service-info"] = always(404)
        bench.engine.probe()
