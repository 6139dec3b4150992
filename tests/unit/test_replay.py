"""A replay of what a local run left gives the record that the local run wrote."""

import atexit
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stemma.engines.cwltool import journal_reader
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.protocol import Fact, FileSeen, Job, StepEnded, StepStarted
from stemma.engines.replay.caller import TARGET, Replayer
from stemma.engines.replay.results import ELSEWHERE, JobResult, LeftFile, Results, RunEnd
from stemma.forkserver import ForkServer
from stemma.records import StepKind
from support.cwltool_bench import Bench, Seen, bench_in
from support.graphs import shape_of

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {position: 1}}
  text: {type: File, inputBinding: {position: 2}}
outputs:
  made: {type: File, outputBinding: {glob: "*.txt"}}
"""
COUNT = """
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {files: "File[]"}
outputs: {first: File, number: int}
expression: "${ return {first: inputs.files[0], number: inputs.files.length}; }"
"""
INNER = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {script: string, texts: "File[]", never: boolean}
steps:
  each: {run: tool.cwl, scatter: text, in: {script: script, text: texts}, out: [made]}
  left_out:
    run: tool.cwl
    when: $(inputs.never)
    in: {script: script, never: never, text: {source: texts, valueFrom: "$(self[0])"}}
    out: [made]
  count: {run: count.cwl, in: {files: each/made}, out: [first, number]}
outputs:
  made: {type: "File[]", outputSource: each/made}
  first: {type: File, outputSource: count/first}
  number: {type: int, outputSource: count/number}
"""
OUTER = """
cwlVersion: v1.2
class: Workflow
requirements: {SubworkflowFeatureRequirement: {}}
inputs: {script: string, texts: "File[]", never: boolean}
steps:
  within: {run: inner.cwl, in: {script: script, texts: texts, never: never}, out: [made, first, number]}
  last: {run: tool.cwl, in: {script: script, text: within/first}, out: [made]}
outputs:
  made: {type: "File[]", outputSource: within/made}
  number: {type: int, outputSource: within/number}
  last: {type: File, outputSource: last/made}
"""
READING = """
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs: {script: string, text: File}
steps:
  make: {run: tool.cwl, in: {script: script, text: text}, out: [made]}
  read:
    run:
      class: ExpressionTool
      inputs: {file: {type: File, loadContents: true}}
      outputs: {word: string}
      expression: "${ return {word: inputs.file.contents}; }"
    in: {file: make/made}
    out: [word]
outputs:
  word: {type: string, outputSource: read/word}
"""
COPY = 'cat "$0" > "$(basename "$0")"; echo more >> "$(basename "$0")"'


@cache
def _server() -> ForkServer:
    server = ForkServer(TARGET)
    atexit.register(server.close)
    return server


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path / "there") as made:
        yield made


class Here:
    """An attempt's folder that knows nothing yet, and a way to fill it."""

    def __init__(self, home: Path, bench: Bench) -> None:
        self.home, self.bench = home, bench
        self.replayer = Replayer("elsewhere", _server())

    def folder(self, job: Job) -> AttemptFolder:
        folder = AttemptFolder(self.home / str(job.run_uuid) / "1")
        order = self.bench.engine._order(job)
        folder.lay_out(job.revision.files, order, self.bench.store_path)
        return folder

    def facts(self, folder: AttemptFolder) -> list[Fact]:
        size = folder.journal.stat().st_size
        return list(journal_reader.read(folder.journal, 0, size).facts)

    def shape(self, folder: AttemptFolder, job: Job) -> dict[str, Any]:
        ending = journal_reader.ending(folder.journal)
        return shape_of(self.facts(folder), job.inputs, ending.outputs if ending else None)


@pytest.fixture
def here(tmp_path: Path, bench: Bench) -> Here:
    return Here(tmp_path / "here", bench)


def _jobs(seen: Seen, *, running: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> tuple[JobResult, ...]:
    """What an engine elsewhere would tell of the tools of a run."""
    ends = {fact.uuid: fact for fact in seen.facts if isinstance(fact, StepEnded)}
    jobs = []
    for step in seen.facts:
        if not isinstance(step, StepStarted) or step.kind is not StepKind.TOOL or step.key in without:
            continue
        end = ends[step.uuid]
        if end.exit_code is None:
            continue
        if step.key in running:
            jobs.append(JobResult(step.key, step.at))
            continue
        files = tuple(
            LeftFile(file.basename, file.content, f"{step.key}/{file.basename}")
            for fact in seen.facts
            if isinstance(fact, FileSeen) and (file := fact.occurrence).step == step.uuid and file.content is not None
        )
        jobs.append(JobResult(step.key, step.at, end.at, end.exit_code, files=files))
    return tuple(jobs)


def _results(seen: Seen, **more: Any) -> Results:
    assert seen.report.ended_at is not None
    began_at = min(fact.at for fact in seen.facts if isinstance(fact, StepStarted))
    return Results(began_at, jobs=_jobs(seen, **more), end=RunEnd(seen.report.state.value, seen.report.ended_at))


def _nested(bench: Bench, script: str = COPY) -> Job:
    revision = bench.revision({"main.cwl": OUTER, "inner.cwl": INNER, "tool.cwl": TOOL, "count.cwl": COUNT})
    texts = [bench.file("same", "a.txt"), bench.file("same", "b.txt"), bench.file("other", "a.txt")]
    return bench.job(revision, {"script": script, "texts": texts, "never": False})


def test_replay_when_a_nested_run_finished_then_the_record_is_the_local_one(bench: Bench, here: Here) -> None:
    job = _nested(bench)
    seen = bench.follow(bench.submit(job))
    assert seen.report.state.value == "finished", seen.report.reason
    folder = here.folder(job)
    assert here.replayer.replay(folder, _results(seen)).is_ended
    assert here.shape(folder, job) == shape_of(seen.facts, job.inputs, seen.report.outputs)
    assert len(here.shape(folder, job)["steps"]) == 7
    ending = journal_reader.ending(folder.journal)
    assert ending.outputs["last"]["location"] == f"{ELSEWHERE}last/a.txt"


def test_replay_when_a_step_failed_then_the_same_step_is_to_blame(bench: Bench, here: Here) -> None:
    job = _nested(bench, f'{COPY}; case "$0" in *b.txt) exit 7;; esac')
    seen = bench.follow(bench.submit(job))
    assert seen.report.state.value == "failed"
    folder = here.folder(job)
    assert here.replayer.replay(folder, _results(seen)).is_ended
    ending = journal_reader.ending(folder.journal)
    assert ending.state.value == "failed"
    assert ending.reason.startswith("step 'within/each[1]' failed: exit code 7")
    told = {end[0] for end in here.shape(folder, job)["ends"] if end[1] == "failed"}
    assert "within/each[1]" in told
    assert told <= {"within/each[1]", "within"}


def test_replay_when_done_again_with_more_results_then_each_fact_is_told_once(bench: Bench, here: Here) -> None:
    job = _nested(bench)
    seen = bench.follow(bench.submit(job))
    folder = here.folder(job)
    whole = _results(seen)
    none = Results(whole.began_at)
    some = Results(whole.began_at, jobs=_jobs(seen, running=("within/each[0]",), without=("within/each[2]", "last")))
    for results in (none, some, some):
        assert not here.replayer.replay(folder, results).is_ended
    shown = here.shape(folder, job)
    assert [step[0] for step in shown["steps"]] == ["within", "within/each[0]", "within/each[1]", "within/left_out"]
    assert [end[0] for end in shown["ends"]] == ["within/each[1]", "within/left_out"]
    assert here.replayer.replay(folder, whole).is_ended
    assert here.replayer.replay(folder, whole).is_ended
    assert here.shape(folder, job) == shape_of(seen.facts, job.inputs, seen.report.outputs)


def test_replay_when_the_document_reads_a_file_then_its_bytes_are_wanted_first(bench: Bench, here: Here) -> None:
    revision = bench.revision({"main.cwl": READING, "tool.cwl": TOOL})
    job = bench.job(revision, {"script": COPY, "text": bench.file("a word", "a.txt")})
    seen = bench.follow(bench.submit(job))
    folder = here.folder(job)
    answer = here.replayer.replay(folder, _results(seen))
    assert answer.wanted == ("make/a.txt",)
    assert not answer.is_ended
    assert not folder.journal.stat().st_size
    made = next(fact.occurrence.content for fact in seen.facts if isinstance(fact, FileSeen))
    (folder.arrivals / made.sha256).write_bytes(b"a wordmore\n")
    assert here.replayer.replay(folder, _results(seen)).is_ended
    assert here.shape(folder, job) == shape_of(seen.facts, job.inputs, seen.report.outputs)


def test_replay_when_the_engine_says_finished_and_a_job_is_missing_then_the_run_failed(
    bench: Bench, here: Here
) -> None:
    job = _nested(bench)
    seen = bench.follow(bench.submit(job))
    folder = here.folder(job)
    here.replayer.replay(folder, _results(seen, without=("last",)))
    ending = journal_reader.ending(folder.journal)
    assert ending.state.value == "failed"
    assert "tells nothing of 'last'" in ending.reason


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil"])
def test_replay_when_a_job_left_a_file_outside_its_folder_then_the_step_failed(
    bench: Bench, here: Here, path: str
) -> None:
    alone = TOOL.replace("  text: {type: File, inputBinding: {position: 2}}\n", "")
    job = bench.job(bench.shell(alone), {"script": "echo > made.txt"})
    seen = bench.follow(bench.submit(job))
    folder = here.folder(job)
    told = _results(seen)
    files = (*told.jobs[0].files, LeftFile(path, told.jobs[0].files[0].content, "x"))
    changed = JobResult("tool", told.began_at, told.jobs[0].ended_at, 0, files=files)
    here.replayer.replay(folder, Results(told.began_at, jobs=(changed,), end=told.end))
    ending = journal_reader.ending(folder.journal)
    assert ending.state.value == "failed"
    assert "no path within its folder" in ending.reason
