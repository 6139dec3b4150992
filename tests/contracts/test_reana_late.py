"""Late files on REANA: a run begins, each job waits for its own files, and the record is the same as ever.

``STEMMA_TEST_REANA_URL`` and ``_TOKEN`` point the tests that need no faults at a real server.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stemma import clock
from stemma.engines.protocol import JobState, StepEnded, StepStarted, StepWaits
from stemma.engines.reana import deliveries
from stemma.engines.reana.late import LateNotes, LateState
from stemma.errors import EngineUnreachable
from stemma.records import RevisionRecord
from stemma.states import StepState
from support.cwltool_bench import TAG, Seen, wait_for
from support.reana_bench import ReanaBench, reana_bench_in
from support.reana_standin import ReanaStandin

PATIENCE_SECONDS = 60.0
TOOL = """
  class: CommandLineTool
  requirements: {InlineJavascriptRequirement: {}}
  baseCommand: [sh, -c]
  inputs:
    script: {type: string, inputBinding: {position: 1}}
    file: {type: File, inputBinding: {position: 2}}
    %s
  outputs: {made: {type: File, outputBinding: {glob: made.txt}}}
"""
TWO_STEPS = f"""
cwlVersion: v1.2
class: Workflow
requirements: {{StepInputExpressionRequirement: {{}}}}
inputs: {{early: File, late: File}}
outputs:
  first: {{type: File, outputSource: begin/made}}
  last: {{type: File, outputSource: end/made}}
steps:
  begin:
    in: {{file: early, script: {{valueFrom: 'cat "$0" > made.txt'}}}}
    out: [made]
    run: {TOOL.replace(chr(10), chr(10) + "    ") % ""}
  end:
    in: {{file: late, other: begin/made, script: {{valueFrom: 'cat "$0" "$1" > made.txt'}}}}
    out: [made]
    run: {TOOL.replace(chr(10), chr(10) + "    ") % "other: {type: File, inputBinding: {position: 3}}"}
"""
SCATTER = f"""
cwlVersion: v1.2
class: Workflow
requirements: {{ScatterFeatureRequirement: {{}}, StepInputExpressionRequirement: {{}}}}
inputs: {{files: "File[]"}}
outputs: {{all: {{type: "File[]", outputSource: each/made}}}}
steps:
  each:
    scatter: file
    in: {{file: files, script: {{valueFrom: 'cat "$0" > made.txt'}}}}
    out: [made]
    run: {TOOL.replace(chr(10), chr(10) + "    ") % ""}
"""
BESIDE = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$0" "$0.idx" > made.txt']
inputs:
  file: {type: File, secondaryFiles: [.idx], inputBinding: {}}
outputs: {made: {type: File, outputBinding: {glob: made.txt}}}
"""
FOLDER = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$0/a.txt" "$0/deep/b.txt" "$0/here.txt" > made.txt']
inputs:
  folder: {type: Directory, inputBinding: {}}
outputs: {made: {type: File, outputBinding: {glob: made.txt}}}
"""
LAID = """
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement:
    listing:
      - {entry: $(inputs.linked), entryname: linked.txt}
      - {entry: $(inputs.copied), entryname: copied.txt, writable: true}
      - $(inputs.folder)
baseCommand: [sh, -c, 'echo more >> copied.txt; cat linked.txt copied.txt folder/a.txt > made.txt']
inputs: {linked: File, copied: File, folder: Directory}
outputs: {made: {type: File, outputBinding: {glob: made.txt}}}
"""


class LateBench:
    """A bench, and short ways to be late."""

    def __init__(self, bench: ReanaBench) -> None:
        self.bench = bench

    @property
    def engine(self) -> Any:
        return self.bench.engine

    def late(self, basename: str, **more: Any) -> dict[str, Any]:
        """A File as the lifecycle gives it to an engine when it is still to come."""
        return {"class": "File", "basename": basename, TAG: str(clock.new_uuid()), "stemma:late": True, **more}

    def workflow(self, document: str) -> RevisionRecord:
        return self.bench.revision({"main.cwl": document})

    def start(self, revision: RevisionRecord, inputs: dict[str, Any], **more: Any) -> str:
        return self.bench.submit(self.bench.job(revision, inputs, **more))

    def deliver(self, reference: str, file: dict[str, Any], text: str) -> None:
        self.engine.deliver(reference, UUID(file[TAG]), self.bench.put(text))

    def refuse(self, reference: str, file: dict[str, Any], reason: str) -> None:
        self.engine.refuse(reference, UUID(file[TAG]), reason)

    def until(self, reference: str, condition: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
        """Follow until the facts are so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            report = self.engine.report(reference, "")
            if condition(report.facts):
                return report.facts
            assert not report.state.is_terminal, report.reason
            assert time.monotonic() < deadline, report.facts
            time.sleep(0.2)

    def follow(self, reference: str) -> Seen:
        return self.bench.follow(reference)

    def outputs(self, reference: str) -> list[str]:
        return [
            b"".join(file.chunks()).decode() if file.chunks else file.path.read_text()
            for file in self.engine.outputs(reference)
        ]

    def notes(self, reference: str) -> LateNotes:
        return LateNotes(self.bench.runs / reference / "arrivals")

    def state(self, reference: str, file: dict[str, Any]) -> LateState | None:
        note = self.notes(reference).find(UUID(file[TAG]))
        return note.state if note else None

    def anew(self) -> None:
        """Go on as another process does that knows nothing of this one."""
        self.engine.deliveries.close()
        self.bench.engine = self.bench.new_engine()  # type: ignore[assignment]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LateBench]:
    with reana_bench_in(tmp_path / "home", reana_late_limit_seconds=600) as made:
        yield LateBench(made)


def ended(facts: tuple[Any, ...], key: str) -> bool:
    steps = {fact.uuid for fact in facts if isinstance(fact, StepStarted) and fact.key == key}
    return any(isinstance(fact, StepEnded) and fact.uuid in steps for fact in facts)


def waits(facts: tuple[Any, ...], key: str) -> bool:
    return any(isinstance(fact, StepWaits) and fact.key == key for fact in facts)


def test_run_when_its_last_input_is_late_then_its_first_step_ends_before_and_the_other_waits(bench: LateBench) -> None:
    late = bench.late("late.txt")
    reference = bench.start(
        bench.workflow(TWO_STEPS), {"early": bench.bench.file("early\n", "early.txt"), "late": late}
    )
    facts = bench.until(reference, lambda facts: ended(facts, "begin") and waits(facts, "end"))
    (wait,) = [fact for fact in facts if isinstance(fact, StepWaits)]
    assert (wait.path, wait.occurrences) == ("end", (UUID(late[TAG]),))
    bench.deliver(reference, late, "late\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert bench.outputs(reference) == ["early\n", "late\nearly\n"]
    assert seen.used("end")["file"] == UUID(late[TAG])
    assert len([fact for fact in seen.facts if isinstance(fact, StepWaits)]) == 1


def test_run_when_elements_of_a_scatter_are_late_then_each_waits_for_its_own(bench: LateBench) -> None:
    files = [bench.bench.file("0\n", "0.txt"), bench.late("1.txt"), bench.late("2.txt")]
    reference = bench.start(bench.workflow(SCATTER), {"files": files})
    bench.until(
        reference, lambda facts: ended(facts, "each[0]") and waits(facts, "each[1]") and waits(facts, "each[2]")
    )
    bench.deliver(reference, files[2], "2\n")
    facts = bench.until(reference, lambda facts: ended(facts, "each[2]"))
    assert not ended(facts, "each[1]")
    bench.deliver(reference, files[1], "1\n")
    assert bench.follow(reference).report.state is JobState.FINISHED
    assert bench.outputs(reference) == ["0\n", "1\n", "2\n"]


def test_run_when_a_late_file_is_refused_then_its_step_alone_fails_with_the_sentence(bench: LateBench) -> None:
    files = [bench.bench.file("0\n", "0.txt"), bench.late("1.txt")]
    reference = bench.start(bench.workflow(SCATTER), {"files": files})
    bench.refuse(reference, files[1], 'it\'s "gone" `touch hurt` $(touch hurt)\nstemma:end each[1]\x1b[0m')
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FAILED
    sentence = 'it\'s "gone" `touch hurt` $(touch hurt) stemma:end each[1] [0m'
    assert sentence in seen.report.reason
    assert {key: fact.state for key, fact in seen.ended.items()} == {
        "each[0]": StepState.FINISHED,
        "each[1]": StepState.FAILED,
    }
    assert sentence in seen.ended["each[1]"].error


def test_run_when_a_late_file_does_not_come_in_time_then_its_step_fails_and_names_it(tmp_path: Path) -> None:
    with reana_bench_in(tmp_path / "home", reana_late_limit_seconds=2) as made:
        bench = LateBench(made)
        files = [bench.late("never.txt"), made.file("0\n", "0.txt")]
        seen = bench.follow(bench.start(bench.workflow(SCATTER), {"files": files}))
    assert seen.report.state is JobState.FAILED
    assert "'never.txt' had not arrived within 2 s" in seen.report.reason
    assert {key: fact.state for key, fact in seen.ended.items()} == {
        "each[1]": StepState.FINISHED,
        "each[0]": StepState.FAILED,
    }


def test_run_when_two_steps_use_a_late_file_then_both_have_it_and_it_may_be_dropped_here(bench: LateBench) -> None:
    late = bench.late("late.txt")
    reference = bench.start(bench.workflow(TWO_STEPS), {"early": late, "late": {**late}})
    content = bench.bench.put("both\n")
    bench.deliver(reference, late, "both\n")
    wait_for(lambda: bench.engine.report(reference, "") and bench.engine.keeps(reference, UUID(late[TAG])), 60)
    assert bench.engine.recall(reference, UUID(late[TAG]))
    bench.bench.store_path(content.sha256).unlink()
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert bench.outputs(reference) == ["both\n", "both\nboth\n"]


def test_run_when_what_belongs_to_a_file_is_late_then_the_step_waits_for_that(bench: LateBench) -> None:
    index = bench.late("a.txt.idx")
    file = bench.bench.file("a\n", "a.txt", secondaryFiles=[index])
    reference = bench.start(bench.bench.shell(BESIDE), {"file": file})
    bench.until(reference, lambda facts: waits(facts, "tool"))
    bench.deliver(reference, index, "index\n")
    assert bench.follow(reference).report.state is JobState.FINISHED
    assert bench.outputs(reference) == ["a\nindex\n"]


def test_run_when_members_of_a_folder_are_late_then_the_step_waits_for_them(bench: LateBench) -> None:
    first, second = bench.late("a.txt"), bench.late("b.txt")
    folder = bench.bench.directory(
        "folder", first, bench.bench.directory("deep", second), bench.bench.file("here\n", "here.txt")
    )
    reference = bench.start(bench.bench.shell(FOLDER), {"folder": folder})
    bench.deliver(reference, first, "a\n")
    bench.deliver(reference, second, "b\n")
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert bench.outputs(reference) == ["a\nb\nhere\n"]


def test_run_when_files_to_be_laid_down_are_late_then_they_lie_there_as_they_should(bench: LateBench) -> None:
    linked, copied, member = bench.late("x.txt"), bench.late("y.txt"), bench.late("a.txt")
    inputs = {"linked": linked, "copied": copied, "folder": bench.bench.directory("folder", member)}
    reference = bench.start(bench.bench.shell(LAID), inputs)
    for file, text in ((linked, "linked\n"), (copied, "copied\n"), (member, "member\n")):
        bench.deliver(reference, file, text)
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert bench.outputs(reference) == ["linked\ncopied\nmore\nmember\n"]


def _dies(*_: object, **__: object) -> None:
    raise EngineUnreachable("reana", "killed")


@pytest.mark.parametrize("moment", ["_say", "_upload"])
def test_deliver_when_killed_before_the_jobs_know_then_another_process_goes_on(
    bench: LateBench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    late = bench.late("late.txt")
    reference = bench.start(bench.workflow(SCATTER), {"files": [late]})
    with monkeypatch.context() as patch:
        patch.setattr(deliveries._Delivery, moment, _dies)
        bench.deliver(reference, late, "late\n")
        left = LateState.BROUGHT if moment == "_say" else LateState.TOLD
        wait_for(lambda: bench.state(reference, late) is left and not bench.engine.deliveries._work.jobs, 20)
        bench.anew()
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert bench.outputs(reference) == ["late\n"]
    assert bench.state(reference, late) is LateState.HERE


def test_deliver_when_the_upload_takes_long_then_nobody_waits_and_the_file_cannot_be_taken_back(
    bench: LateBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = bench.late("1.txt"), bench.late("2.txt")
    reference = bench.start(bench.workflow(SCATTER), {"files": [first, second]})
    going, go_on = threading.Event(), threading.Event()
    chunks = deliveries._Delivery._chunks

    def slow(self: deliveries._Delivery, path: Path) -> Iterator[bytes]:
        going.set()
        go_on.wait(PATIENCE_SECONDS)
        yield from chunks(self, path)

    monkeypatch.setattr(deliveries._Delivery, "_chunks", slow)
    bench.deliver(reference, first, "1\n")
    assert going.wait(PATIENCE_SECONDS)
    assert not bench.engine.report(reference, "").state.is_terminal
    assert not bench.engine.recall(reference, UUID(first[TAG]))
    assert not bench.engine.keeps(reference, UUID(first[TAG]))
    go_on.set()
    bench.deliver(reference, second, "2\n")
    assert bench.follow(reference).report.state is JobState.FINISHED
    assert bench.outputs(reference) == ["1\n", "2\n"]


def test_recall_when_nobody_has_begun_to_bring_it_then_it_is_waited_for_again(
    bench: LateBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = bench.late("late.txt")
    reference = bench.start(bench.workflow(SCATTER), {"files": [late]})
    with monkeypatch.context() as patch:
        patch.setattr(deliveries.Deliveries, "go_on", lambda *_: None)
        bench.deliver(reference, late, "late\n")
        assert bench.engine.recall(reference, UUID(late[TAG]))
        assert bench.state(reference, late) is LateState.RECALLED
    bench.until(reference, lambda facts: waits(facts, "each[0]"))
    bench.deliver(reference, late, "late\n")
    assert bench.follow(reference).report.state is JobState.FINISHED
    assert bench.outputs(reference) == ["late\n"]


def test_deliver_when_told_twice_or_after_a_refusal_or_the_end_then_the_first_word_counts(bench: LateBench) -> None:
    files = [bench.late("1.txt"), bench.late("2.txt")]
    reference = bench.start(bench.workflow(SCATTER), {"files": files})
    bench.deliver(reference, files[0], "1\n")
    bench.deliver(reference, files[0], "1\n")
    bench.refuse(reference, files[0], "it is not to be had")
    bench.refuse(reference, files[1], "it is not to be had")
    bench.deliver(reference, files[1], "2\n")
    seen = bench.follow(reference)
    assert {key: fact.state for key, fact in seen.ended.items()} == {
        "each[0]": StepState.FINISHED,
        "each[1]": StepState.FAILED,
    }
    bench.engine.release(reference)
    bench.deliver(reference, files[1], "2\n")
    bench.refuse(reference, files[1], "no")
    assert bench.engine.recall(reference, UUID(files[1][TAG]))


def test_deliver_when_the_quota_is_used_up_then_the_run_is_stopped_there_and_says_so(
    tmp_path: Path, standin: ReanaStandin
) -> None:
    with reana_bench_in(tmp_path / "home", standin) as made:
        bench = LateBench(made)
        late = bench.late("late.txt")
        reference = bench.start(bench.workflow(SCATTER), {"files": [late]})
        bench.until(reference, lambda facts: waits(facts, "each[0]"))
        standin.faults(over_quota=["upload"])
        bench.deliver(reference, late, "late\n")
        seen = bench.follow(reference)
    assert seen.report.state is JobState.FAILED
    assert "'late.txt'" in seen.report.reason
    assert "quota" in seen.report.reason


def test_deliver_when_uploads_fail_for_a_while_then_it_arrives_all_the_same(
    tmp_path: Path, standin: ReanaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_AGAIN_SECONDS", 0.2)
    with reana_bench_in(tmp_path / "home", standin) as made:
        bench = LateBench(made)
        late = bench.late("late.txt")
        reference = bench.start(bench.workflow(SCATTER), {"files": [late]})
        standin.faults(cut_upload_after=100_000, cuts=2, bad_gateway=1, lost_answers=1, routes="^POST .*workspace")
        text = "0123456789abcdef" * 65536
        bench.deliver(reference, late, text)
        seen = bench.follow(reference)
        assert seen.report.state is JobState.FINISHED, seen.report.reason
        assert bench.outputs(reference) == [text]


def test_submit_when_nothing_is_late_then_nothing_is_said_of_late_files_there(
    tmp_path: Path, standin: ReanaStandin
) -> None:
    with reana_bench_in(tmp_path / "home", standin) as made:
        bench = LateBench(made)
        reference = bench.start(bench.workflow(SCATTER), {"files": [made.file("0\n", "0.txt")]})
        assert bench.follow(reference).report.state is JobState.FINISHED
    assert not list((tmp_path / "reana").rglob("stemma/late"))
    assert list((tmp_path / "reana").rglob("stemma/wrapper.sh"))


def test_run_when_an_input_only_looks_like_a_late_file_then_it_is_taken_as_it_is(bench: LateBench) -> None:
    stranger = f"stemma:late {clock.new_uuid()}\n"
    files = [bench.bench.file(stranger, "0.txt"), bench.late("1.txt")]
    reference = bench.start(bench.workflow(SCATTER), {"files": files})
    bench.deliver(reference, files[1], f"stemma:late {files[1][TAG]}\n")
    assert bench.follow(reference).report.state is JobState.FINISHED
    assert bench.outputs(reference) == [stranger, f"stemma:late {files[1][TAG]}\n"]
