"""A replay of a run elsewhere that began before its files were there."""

import atexit
from functools import cache
from pathlib import Path
from uuid import UUID

from stemma import clock
from stemma.engines.cwltool import journal_reader
from stemma.engines.cwltool.arrivals import Arrivals
from stemma.engines.cwltool.folder import AttemptFolder
from stemma.engines.protocol import Fact, FileUsed, StepEnded, StepStarted
from stemma.engines.replay.caller import TARGET, Replayer
from stemma.engines.replay.results import JobResult, LeftFile, Results, RunEnd
from stemma.forkserver import ForkServer
from stemma.states import StepState
from support.cwltool_bench import TAG, bench_in
from support.late_bench import late

MAIN = """
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {files: "File[]"}
steps: {each: {run: tool.cwl, scatter: file, in: {file: files}, out: [all]}}
outputs: {all: {type: "File[]", outputSource: each/all}, files: {type: "File[]", outputSource: files}}
"""
TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs: {file: {type: File, inputBinding: {}}}
stdout: all.txt
outputs: {all: stdout}
"""


@cache
def _server() -> ForkServer:
    server = ForkServer(TARGET)
    atexit.register(server.close)
    return server


def test_replay_when_files_come_one_by_one_then_each_step_is_recorded_once_its_file_was_there(tmp_path: Path) -> None:
    with bench_in(tmp_path / "there") as bench:
        files = [late("0.txt"), late("1.txt")]
        job = bench.job(bench.revision({"main.cwl": MAIN, "tool.cwl": TOOL}), {"files": files})
        folder = AttemptFolder(tmp_path / "here" / str(job.run_uuid) / "1")
        folder.lay_out(job.revision.files, bench.engine._order(job), bench.store_path)
        at, content = clock.now(), bench.put("same\n")
        jobs = tuple(
            JobResult(f"each[{n}]", at, at, 0, files=(LeftFile("all.txt", content, f"there/{n}"),)) for n in range(2)
        )

        def replay(end: RunEnd | None = None) -> list[Fact]:
            Replayer("elsewhere", _server()).replay(folder, Results(at, jobs=jobs, end=end))
            return list(journal_reader.read(folder.journal, 0, folder.journal.stat().st_size).facts)

        assert replay() == []
        arrivals = Arrivals(folder.arrivals)
        arrivals.deliver(UUID(files[1][TAG]), content, bench.store_path(content.sha256))
        assert {fact.key for fact in replay() if isinstance(fact, StepStarted)} == {"each[1]"}
        arrivals.deliver(UUID(files[0][TAG]), content, bench.store_path(content.sha256))
        facts = replay(RunEnd("finished", at))
        assert [fact.state for fact in facts if isinstance(fact, StepEnded)] == [StepState.FINISHED] * 2
        used = [str(fact.usage.occurrence) for fact in facts if isinstance(fact, FileUsed)]
        assert used == [files[1][TAG], files[0][TAG]]
        outputs = journal_reader.ending(folder.journal).outputs
        assert [file["checksum"] for file in outputs["files"]] == [f"sha256:{content.sha256}"] * 2
