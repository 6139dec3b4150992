"""The WES engine where servers differ from the standard, and from one another: states, times, tasks, logs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stemma.engines.protocol import JobState, Report, StepEnded, StepStarted
from stemma.engines.wes.answers import Log, moment
from stemma.engines.wes.states import meaning, sentence
from stemma.errors import EngineRefused, EngineUnreachable
from stemma.states import StepState
from support.scripted_http import Answered
from support.wes_scripted import TOOL, always, once, said, scripted_wes, start


@pytest.fixture
def wes(tmp_path: Path):
    with scripted_wes(tmp_path, files_root=tmp_path / "shared") as both:
        yield both


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
