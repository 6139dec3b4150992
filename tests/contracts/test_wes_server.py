"""The WES engine on real servers, which run CWL for real: Sapporo, and Toil beside us on the same disk."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stemma import clock
from stemma.engines.protocol import FileSeen, JobState
from stemma.errors import EngineRefused
from stemma.records import FileKind
from support.cwltool_bench import Seen, wait_for
from support.wes_bench import WesBench, server_url, wes_bench

TOOL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'mkdir -p d/e; cat "$0" > made.txt; cat "$0" > d/inner.txt; : > d/e/empty; echo i > made.txt.idx']
inputs:
  text: {type: File, inputBinding: {}}
outputs:
  made: {type: File, outputBinding: {glob: made.txt}, secondaryFiles: [{pattern: .idx}]}
  folder: {type: Directory, outputBinding: {glob: d}}
"""
WORKFLOW = """
cwlVersion: v1.2
class: Workflow
requirements: {MultipleInputFeatureRequirement: {}}
inputs: {text: File, words: string}
steps:
  only: {run: tools/tool.cwl, in: {text: text}, out: [made, folder]}
outputs:
  made: {type: File, outputSource: only/made}
  folder: {type: Directory, outputSource: only/folder}
  same: {type: File, outputSource: text}
  words: {type: string, outputSource: words}
"""
SLEEP = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sleep]
inputs:
  seconds: {type: int, inputBinding: {}}
outputs: {}
"""


@pytest.fixture
def sapporo(tmp_path: Path) -> Iterator[WesBench]:
    with wes_bench(tmp_path, server_url()) as bench:
        yield bench


def _job(bench: WesBench) -> Any:
    revision = bench.revision({"main.cwl": WORKFLOW, "tools/tool.cwl": TOOL})
    return bench.job(revision, {"text": bench.file("a text\n", "text.txt"), "words": "some words"})


def _check_outputs(bench: WesBench, job: Any, seen: Seen) -> None:
    """Everything that the workflow promises is here, and is what it should be."""
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    outputs = seen.report.outputs
    assert outputs["words"] == "some words"
    assert outputs["same"]["stemma:occurrence"] == job.inputs["text"]["stemma:occurrence"]
    places = {(file.port, file.position): file for file in seen.occurrences.values()}
    made, index = places["made", ""], places["made", ".secondaryFiles[0]"]
    folder = places["folder", ""]
    assert (made.basename, index.basename, index.parent) == ("made.txt", "made.txt.idx", made.uuid)
    assert made.content.sha256 == hashlib.sha256(b"a text\n").hexdigest()
    inside = {file.basename: file for file in seen.occurrences.values() if file.parent == folder.uuid}
    assert {name: file.kind for name, file in inside.items()} == {
        "inner.txt": FileKind.FILE,
        "e": FileKind.DIRECTORY,
    }
    assert [file.basename for file in seen.occurrences.values() if file.parent == inside["e"].uuid] == ["empty"]
    contents = {file.occurrence: file.path.read_bytes() for file in bench.engine.outputs(seen.reference)}
    assert contents[made.uuid] == contents[UUID(outputs["same"]["stemma:occurrence"])] == b"a text\n"
    for uuid, occurrence in seen.occurrences.items():
        if occurrence.content is not None:
            assert hashlib.sha256(contents[uuid]).hexdigest() == occurrence.content.sha256


def test_probe_when_sapporo_answers_then_its_version(sapporo: WesBench) -> None:
    assert sapporo.engine.probe().startswith("sapporo")
    assert sapporo.engine.check(_job(sapporo).revision, "auto") == []


def test_outputs_when_sapporo_ran_a_workflow_then_files_folders_and_secondary_files(sapporo: WesBench) -> None:
    job = _job(sapporo)
    seen = sapporo.follow(sapporo.submit(job))
    _check_outputs(sapporo, job, seen)
    assert seen.environment["workflow_engine"] == "cwltool"
    assert seen.environment["steps"] == "not told by the server"
    assert seen.report.started_at <= seen.report.ended_at


def test_submit_when_the_answer_was_lost_then_sapporo_tells_by_tags(sapporo: WesBench) -> None:
    job = _job(sapporo)
    reference = sapporo.submit(job)
    folder = sapporo.engine._folder(reference)
    trail = folder.trail()
    run_id, trail.run_id = trail.run_id, None  # as it is when nobody lived to hear the answer
    folder.keep(trail)
    other = sapporo.reopened()
    assert other.submit(job) == reference
    assert folder.trail().run_id == run_id
    assert other.report(reference, "").identity.id == run_id


def test_report_when_another_process_goes_on_then_it_has_the_same_facts(sapporo: WesBench) -> None:
    reference = sapporo.submit(_job(sapporo))
    other = sapporo.reopened()
    wait_for(lambda: other.report(reference, "").state.is_terminal, 60)
    assert other.report(reference, "") == sapporo.engine.report(reference, "")
    sapporo.engine.release(reference)
    assert other.report(reference, "") == sapporo.engine.report(reference, "")
    with other.log(reference, None, "stderr") as log:
        assert b"completed success" in log.read()


def test_report_when_over_its_time_limit_then_sapporo_has_ended_it(sapporo: WesBench) -> None:
    revision = sapporo.revision({"main.cwl": SLEEP}, cwl_class="CommandLineTool")
    seen = sapporo.run(revision, {"seconds": 60}, time_limit_seconds=1.0)
    assert (seen.report.state, seen.report.reason) == (
        JobState.FAILED,
        "it took longer than the time limit of 1 seconds",
    )


def test_delete_when_done_then_sapporo_has_deleted_it_too(sapporo: WesBench) -> None:
    revision = sapporo.revision({"main.cwl": SLEEP}, cwl_class="CommandLineTool")
    seen = sapporo.run(revision, {"seconds": 0})
    run_id = seen.report.identity.id
    sapporo.engine.delete(seen.reference)
    wait_for(lambda: sapporo.engine._server.status(run_id) == "DELETED")
    assert sapporo.engine.report(seen.reference, "").state is JobState.LOST


def test_submit_when_sapporo_will_not_then_its_words(tmp_path: Path) -> None:
    with wes_bench(tmp_path, server_url(), workflow_engine="no-such-engine") as bench:
        with pytest.raises(EngineRefused, match="no-such-engine"):
            bench.submit(_job(bench))
        assert bench.engine._folder(f"{clock.new_uuid()}/1").trail() is None


@pytest.mark.slow
def test_outputs_when_toil_ran_a_workflow_then_read_from_the_disk_that_we_share(tmp_path: Path) -> None:
    url = server_url("toil")
    root = os.environ.get("STEMMA_TEST_WES_TOIL_FOLDER", "/")  # noqa: TID251 - as the URL
    with wes_bench(tmp_path, url, files_root=Path(root)) as bench:
        job = _job(bench)
        seen = bench.follow(bench.submit(job))
        _check_outputs(bench, job, seen)
        assert not any(not isinstance(fact, FileSeen) for fact in seen.facts)
        assert "tasks have no times" in seen.environment["steps"]
        with bench.engine.log(seen.reference, None, "stderr") as log:
            assert b"Toil" in log.read() or b"toil" in log.read()
