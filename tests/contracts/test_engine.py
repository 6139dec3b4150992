"""What every engine promises (stemma.engines.protocol). A new engine adds its subject to SUBJECTS and must pass."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import pytest

from stemma.engines.protocol import Engine, FileSeen, FileUsed, Job, JobState, StepEnded, StepStarted
from stemma.records import FileKind, RevisionRecord
from stemma.states import StepState
from support.cwltool_bench import Bench, Seen, bench_in, wait_for
from support.reana_bench import ReanaBench, reana_bench_in
from support.wes_bench import WesBench, server_url, wes_bench

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {position: 1}}
  text: {type: File, inputBinding: {position: 2}}
outputs:
  made: {type: File, outputBinding: {glob: made.txt}}
"""
WORKFLOW = """
cwlVersion: v1.2
class: Workflow
inputs: {script: string, text: File}
steps:
  first: {run: tool.cwl, in: {script: script, text: text}, out: [made]}
  second: {run: tool.cwl, in: {script: script, text: first/made}, out: [made]}
outputs:
  made: {type: File, outputSource: second/made}
"""
COPY = 'echo words; cat "$0" > made.txt; echo >> made.txt'


class Subject(Protocol):
    """An engine, and what it needs around it."""

    engine: Engine

    def file(self, text: str, basename: str) -> dict[str, Any]:
        """An input file, where the engine finds it."""

    def revision(self, files: dict[str, str]) -> RevisionRecord:
        """A registered document."""

    def job(self, revision: RevisionRecord, inputs: dict[str, Any]) -> Job:
        """A job of its own."""

    def submit(self, job: Job) -> str:
        """Submit, and see to it that it is ended after the test."""

    def follow(self, reference: str) -> Seen:
        """Wait for the end."""


@contextmanager
def _cwltool(home: Path) -> Iterator[Bench]:
    with bench_in(home) as bench:
        yield bench


@contextmanager
def _wes(home: Path) -> Iterator[WesBench]:
    with wes_bench(home, server_url()) as bench:
        yield bench


@contextmanager
def _reana(home: Path) -> Iterator[ReanaBench]:
    with reana_bench_in(home) as bench:
        yield bench


SUBJECTS: dict[str, Callable[[Path], AbstractContextManager[Subject]]] = {
    "cwltool": _cwltool,
    "reana": _reana,
    "wes": _wes,
}
SILENT_ON_STEPS = frozenset({"wes"})
"""Engines that may not tell steps: then they must say so, and report none."""


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    with SUBJECTS[request.param](tmp_path) as made:
        yield made


def _job(subject: Subject, script: str = COPY) -> Job:
    revision = subject.revision({"main.cwl": WORKFLOW, "tool.cwl": TOOL})
    return subject.job(revision, {"script": script, "text": subject.file("a text", "text.txt")})


def _tells_steps(subject: Subject, seen: Seen) -> bool:
    """Whether the record has steps; where it has none, the engine must say that it does not know them."""
    if subject.engine.name not in SILENT_ON_STEPS:
        return True
    assert seen.environment["steps"].startswith("not told by the server")
    assert all(isinstance(fact, FileSeen) and fact.occurrence.step is None for fact in seen.facts)
    return False


def _is_under_way(subject: Subject, reference: str) -> bool:
    report = subject.engine.report(reference, "")
    if subject.engine.name in SILENT_ON_STEPS:
        return report.state is JobState.RUNNING
    return any(isinstance(fact, StepStarted) for fact in report.facts)


def test_describe_when_asked_then_name_and_version(subject: Subject) -> None:
    description = subject.engine.describe()
    assert description.name == subject.engine.name
    assert description.version


def test_submit_when_called_again_then_one_run_and_the_same_reference(subject: Subject) -> None:
    job = _job(subject)
    reference = subject.submit(job)
    assert subject.submit(job) == reference
    seen = subject.follow(reference)
    assert subject.submit(job) == reference
    if _tells_steps(subject, seen):
        assert sorted(fact.key for fact in seen.facts if isinstance(fact, StepStarted)) == ["first", "second"]
    assert subject.follow(reference).facts == seen.facts


def test_report_when_job_finishes_then_outputs_times_and_environment(subject: Subject) -> None:
    seen = subject.follow(subject.submit(_job(subject)))
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert seen.report.ended_at is not None
    assert seen.environment
    made = seen.report.outputs["made"]
    content = seen.occurrences[UUID(made["stemma:occurrence"])].content
    assert made["checksum"] == f"sha256:{content.sha256}"
    assert content.sha256 == hashlib.sha256(b"a text\n\n").hexdigest()


def test_report_when_facts_come_then_each_names_only_what_came_before(subject: Subject) -> None:
    job = _job(subject)
    seen = subject.follow(subject.submit(job))
    steps: set[UUID] = set()
    files = {UUID(job.inputs["text"]["stemma:occurrence"])}
    for fact in seen.facts:
        if isinstance(fact, StepStarted):
            assert fact.parent is None or fact.parent in steps
            steps.add(fact.uuid)
        elif isinstance(fact, FileSeen):
            assert {fact.occurrence.step, fact.occurrence.parent} - {None} <= steps | files
            files.add(fact.occurrence.uuid)
        elif isinstance(fact, FileUsed):
            assert fact.usage.step in steps
            assert fact.usage.occurrence in files
        else:
            assert fact.uuid in steps


def test_report_when_one_step_feeds_another_then_it_uses_what_was_made(subject: Subject) -> None:
    job = _job(subject)
    seen = subject.follow(subject.submit(job))
    if not _tells_steps(subject, seen):
        return
    assert seen.used("first")["text"] == UUID(job.inputs["text"]["stemma:occurrence"])
    assert seen.used("second")["text"] == seen.made("first")["made"].uuid
    assert seen.started["first"].literals == {"script": COPY}
    assert {ended.state for ended in seen.ended.values()} == {StepState.FINISHED}


def test_report_when_asked_twice_with_one_cursor_then_the_same(subject: Subject) -> None:
    reference = subject.submit(_job(subject))
    end = subject.follow(reference).report
    assert subject.engine.report(reference, "").facts == subject.engine.report(reference, "").facts
    again = subject.engine.report(reference, end.cursor)
    assert (again.state, again.outputs, again.facts) == (end.state, end.outputs, ())


def test_report_when_a_step_fails_then_the_reason_names_it_and_its_words(subject: Subject) -> None:
    seen = subject.follow(subject.submit(_job(subject, "echo what happened >&2; exit 5")))
    assert seen.report.state is JobState.FAILED
    assert "what happened" in seen.report.reason
    if not _tells_steps(subject, seen):
        return
    assert "'first'" in seen.report.reason
    ended = seen.ended["first"]
    assert (ended.state, ended.exit_code) == (StepState.FAILED, 5)
    assert "'first'" in ended.error
    assert "second" not in seen.started


def test_outputs_when_finished_then_the_bytes_that_were_promised(subject: Subject) -> None:
    reference = subject.submit(_job(subject))
    seen = subject.follow(reference)
    (file,) = subject.engine.outputs(reference)
    assert file.kind is FileKind.FILE
    content = seen.occurrences[file.occurrence].content
    found = file.path.read_bytes() if file.chunks is None else b"".join(file.chunks())
    assert hashlib.sha256(found).hexdigest() == content.sha256


def test_log_when_a_step_spoke_then_its_words(subject: Subject) -> None:
    reference = subject.submit(_job(subject))
    seen = subject.follow(reference)
    if _tells_steps(subject, seen):
        with subject.engine.log(reference, seen.started["first"].uuid, "stdout") as log:
            assert log.read() == b"words\n"
    else:  # then it is in the log of the whole run
        with subject.engine.log(reference, None, "stderr") as log:
            assert b"\nwords\n" in log.read()
    assert subject.engine.log(reference, UUID(int=1), "stdout") is None


def test_stop_when_it_runs_then_stopped_within_two_seconds(subject: Subject) -> None:
    reference = subject.submit(_job(subject, "trap '' TERM; sleep 60 & wait; sleep 60"))
    wait_for(lambda: _is_under_way(subject, reference))
    begin = time.monotonic()
    subject.engine.stop(reference)
    assert time.monotonic() - begin < 2
    seen = subject.follow(reference)
    assert seen.report.state is JobState.STOPPED
    if _tells_steps(subject, seen):
        assert [fact.state for fact in seen.facts if isinstance(fact, StepEnded)] == [StepState.STOPPED]
    subject.engine.stop(reference)


def test_stop_when_it_has_ended_then_nothing_changes(subject: Subject) -> None:
    reference = subject.submit(_job(subject))
    subject.follow(reference)
    subject.engine.stop(reference)
    assert subject.follow(reference).report.state is JobState.FINISHED


def test_delete_when_ended_then_the_job_is_lost_and_deleting_again_is_fine(subject: Subject) -> None:
    reference = subject.submit(_job(subject))
    subject.follow(reference)
    subject.engine.delete(reference)
    subject.engine.delete(reference)
    assert subject.engine.report(reference, "").state is JobState.LOST
