"""What every engine keeps to whose jobs may start before their files have come."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import UUID

import pytest

from stemma.engines.protocol import JobState
from support.cwltool_bench import TAG, Bench, bench_in
from support.late_bench import late, until, waits

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {text: {type: File, inputBinding: {}}}
stdout: made.txt
outputs: {made: stdout}
"""
WORKFLOW = """
cwlVersion: v1.2
class: Workflow
inputs: {one: File, two: File}
steps:
  first: {run: tool.cwl, in: {text: one}, out: [made]}
  second: {run: tool.cwl, in: {text: two}, out: [made]}
outputs:
  first: {type: File, outputSource: first/made}
  second: {type: File, outputSource: second/made}
"""
SUBJECTS: dict[str, Callable[[Path], AbstractContextManager[Bench]]] = {"cwltool": bench_in}


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with SUBJECTS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def started(subject: Bench) -> tuple[str, UUID, UUID]:
    """A job one of whose files is told of as late, and the other too."""
    one, two = late("one.txt"), late("two.txt", size=4)
    revision = subject.revision({"main.cwl": WORKFLOW, "tool.cwl": TOOL})
    reference = subject.submit(subject.job(revision, {"one": one, "two": two}))
    return reference, UUID(one[TAG]), UUID(two[TAG])


def test_deliver_when_one_file_has_come_then_its_step_ends_before_the_other_comes(
    subject: Bench, started: tuple[str, UUID, UUID]
) -> None:
    reference, one, two = started
    assert subject.engine.takes_late is True
    for _ in range(2):
        subject.engine.deliver(reference, one, subject.put("one\n"))
    told = until(subject, reference, lambda told: "first" in told.ended)
    assert told.report.state is JobState.RUNNING
    assert "second" not in told.started
    subject.engine.deliver(reference, two, subject.put("two\n"))
    seen = subject.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert seen.used("second") == {"text": two}
    assert waits(seen)["second"] == [str(two)]


def test_refuse_when_a_step_needs_the_file_then_the_job_fails_with_the_sentence(
    subject: Bench, started: tuple[str, UUID, UUID]
) -> None:
    reference, one, two = started
    for _ in range(2):
        subject.engine.refuse(reference, two, "two.txt cannot be had: it is gone")
    subject.engine.deliver(reference, one, subject.put("one\n"))  # steps that need other files may go on
    seen = subject.follow(reference)
    assert seen.report.state is JobState.FAILED
    assert "two.txt cannot be had: it is gone" in seen.report.reason


def test_recall_when_nothing_uses_the_file_then_it_may_be_delivered_anew(
    subject: Bench, started: tuple[str, UUID, UUID]
) -> None:
    reference, one, two = started
    until(subject, reference, lambda told: len(told.waiting) == 2)
    if subject.engine.recall(reference, two):
        subject.engine.deliver(reference, two, subject.put("two\n"))
    subject.engine.deliver(reference, two, subject.put("two\n"))
    subject.engine.deliver(reference, one, subject.put("one\n"))
    assert subject.follow(reference).report.state is JobState.FINISHED


def test_deliver_when_the_job_is_gone_then_nothing_happens(subject: Bench, started: tuple[str, UUID, UUID]) -> None:
    reference, one, two = started
    subject.engine.delete(reference)
    subject.engine.deliver(reference, one, subject.put("one\n"))
    subject.engine.refuse(reference, two, "no")
    assert subject.engine.recall(reference, one)
    assert subject.engine.report(reference, "").state is JobState.LOST
