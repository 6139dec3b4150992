"""What tools do to the files that are laid down for them, tokens that change, and limits: the record stays true."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stemma.engines.cwltool.folder import RunLock
from stemma.engines.protocol import FileSeen, JobState
from stemma.engines.reana.following import Follower
from stemma.engines.replay.caller import Replayer
from stemma.engines.replay.results import JobResult, LeftFile, Results
from stemma.errors import EngineRefused, EngineUnreachable
from stemma.records import Content
from support.cwltool_bench import bench_in
from support.graphs import shape_of
from support.reana_bench import ReanaBench, reana_bench_in
from support.reana_standin import ReanaStandin

SHELL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {position: 1}}
outputs:
  made: {type: "File[]", outputBinding: {glob: "*"}}
"""
WRITABLE = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
requirements: {InitialWorkDirRequirement: {listing: [{entry: $(inputs.text), writable: true}]}}
inputs:
  script: {type: string, inputBinding: {position: 1}}
  text: File
outputs:
  made: {type: "File[]", outputBinding: {glob: "*"}}
"""
WRITABLE_FOLDER = """
cwlVersion: v1.2
class: Workflow
inputs: {script: string, text: File}
steps:
  first:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, "mkdir d; cp $0 d/x; echo 2 > d/y"]
      inputs: {text: {type: File, inputBinding: {position: 1}}}
      outputs: {d: {type: Directory, outputBinding: {glob: d}}}
    in: {text: text}
    out: [d]
  second:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c]
      requirements: {InitialWorkDirRequirement: {listing: [{entry: $(inputs.d), writable: true}]}}
      inputs: {script: {type: string, inputBinding: {position: 1}}, d: Directory}
      outputs: {made: {type: Directory, outputBinding: {glob: d}}}
    in: {d: first/d, script: script}
    out: [made]
outputs:
  made: {type: Directory, outputSource: second/made}
"""
TEXT = """
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs: {script: string}
steps:
  say:
    run:
      class: ExpressionTool
      inputs: {script: string}
      outputs: {said: File}
      expression: '${ return {said: {"class": "File", "basename": "x.txt", "contents": inputs.script}}; }'
    in: {script: script}
    out: [said]
outputs:
  said: {type: File, outputSource: say/said}
"""
PATIENCE_SECONDS = 60.0


@pytest.fixture
def bench(tmp_path: Path, standin: ReanaStandin) -> Iterator[ReanaBench]:
    with reana_bench_in(tmp_path / "home", standin) as made:
        yield made


def _until_running(bench: ReanaBench, reference: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while bench.engine.report(reference, "").state is not JobState.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("document", "script"),
    [(WRITABLE, "mv a.txt b.txt; echo more >> b.txt"), (WRITABLE_FOLDER, "rm d/x; echo 3 > d/z")],
)
def test_record_when_a_tool_removes_what_was_laid_down_for_it_then_as_on_the_local_engine(
    tmp_path: Path, document: str, script: str
) -> None:
    shapes = []
    for kind in (bench_in, reana_bench_in):
        with kind(tmp_path / kind.__name__) as bench:
            is_tool = document is WRITABLE
            revision = bench.shell(document) if is_tool else bench.revision({"main.cwl": document})
            job = bench.job(revision, {"script": script, "text": bench.file("a word", "a.txt")})
            seen = bench.follow(bench.submit(job))
            assert seen.report.state is JobState.FINISHED, seen.report.reason
            shapes.append(shape_of(seen.facts, job.inputs, seen.report.outputs))
    assert shapes[0] == shapes[1]


def test_outputs_when_an_expression_made_one_of_text_then_its_bytes_are_there(bench: ReanaBench) -> None:
    reference = bench.submit(bench.job(bench.revision({"main.cwl": TEXT}), {"script": "a text"}))
    assert bench.follow(reference).report.state is JobState.FINISHED
    (file,) = bench.engine.outputs(reference)
    assert file.path is not None
    assert file.path.read_text() == "a text"


def test_run_when_the_token_changes_to_another_account_then_it_waits_and_is_neither_failed_nor_forgotten(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    reference = bench.submit(bench.job(bench.shell(SHELL), {"script": "sleep 3; echo > made"}))
    mine, others = bench.token, next(token for token in standin.tokens.values() if token != bench.token)
    bench.token = others
    for call in (lambda: bench.engine.report(reference, ""), lambda: bench.engine.delete(reference)):
        with pytest.raises(EngineUnreachable, match="another account"):
            call()
    bench.token = mine
    assert bench.follow(reference).report.state is JobState.FINISHED
    bench.token = others
    (file,) = bench.engine.outputs(reference)
    with pytest.raises(EngineUnreachable, match="another account"):
        list(file.chunks() if file.chunks else ())


def test_run_when_it_takes_longer_than_its_limit_then_stopped_there_and_failed(bench: ReanaBench) -> None:
    job = replace(bench.job(bench.shell(SHELL), {"script": "sleep 60"}), time_limit_seconds=1.0)
    seen = bench.follow(bench.submit(job))
    assert seen.report.state is JobState.FAILED
    assert "time limit of 1 s" in (seen.report.reason or "")


def test_submit_when_another_is_at_it_then_waits(bench: ReanaBench, standin: ReanaStandin) -> None:
    job = bench.job(bench.shell(SHELL), {"script": "true"})
    folder = bench.engine.folder(f"{job.run_uuid}/1")
    folder.path.mkdir(parents=True)
    lock = RunLock.take(folder.lock_file)
    assert lock is not None
    with pytest.raises(EngineUnreachable, match="another process"):
        bench.engine.submit(job)
    lock.release()
    assert bench.follow(bench.submit(job)).report.state is JobState.FINISHED


def test_fetch_when_the_bytes_are_not_those_that_were_told_then_refused(bench: ReanaBench) -> None:
    reference = bench.submit(bench.job(bench.shell(SHELL), {"script": "printf abc > made"}))
    seen = bench.follow(reference)
    (made,) = {fact.occurrence.content for fact in seen.facts if isinstance(fact, FileSeen)}
    assert made is not None
    folder = bench.engine.folder(reference)
    session, workflow_id = bench.engine.session(None), seen.report.identity.id
    place = next(file.path for file in session.files(workflow_id, "stemma/") if file.path.endswith("/made"))
    for content in (made, Content("0" * 64, made.size_bytes)):
        left = LeftFile("made", content, place)
        results = Results(seen.report.started_at, jobs=(JobResult("tool", seen.report.started_at, files=(left,)),))
        follower = Follower(bench.settings, Replayer("reana"), folder)
        if content is made:
            follower._fetch(session, workflow_id, results, (place,))
            assert (folder.arrivals / made.sha256).read_bytes() == b"abc"
        else:
            with pytest.raises(EngineRefused, match="not any more what its step left"):
                follower._fetch(session, workflow_id, results, (place,))
            assert [path.name for path in folder.arrivals.iterdir()] == [made.sha256]


def test_submit_when_an_input_is_gone_here_then_raises_and_nothing_is_left_there(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    text = bench.file("a word", "a.txt")
    job = bench.job(bench.shell(WRITABLE), {"script": "true", "text": text})
    bench.store_path(text["checksum"].removeprefix("sha256:")).unlink()
    with pytest.raises(FileNotFoundError):
        bench.engine.submit(job)
    assert [run.state.value for run in bench.engine.session(None).listed()] == ["deleted"]
