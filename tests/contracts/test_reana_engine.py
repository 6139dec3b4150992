"""The engine against the stand-in when things go wrong: no run twice, none lost, and a sentence for people.

``STEMMA_TEST_REANA_URL`` and ``_TOKEN`` point :func:`test_example_when_run_on_both_engines…` at a real server.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from stemma import clock
from stemma.cwl.bundle import Bundle
from stemma.engines.protocol import FileSeen, Job, JobState, StepStarted
from stemma.engines.reana.crumbs import Crumbs
from stemma.errors import EngineRefused, EngineUnreachable
from stemma.records import BundleFile, Person, RevisionRecord
from support.cwltool_bench import Bench, Seen, bench_in
from support.graphs import shape_of
from support.reana_bench import ReanaBench, reana_bench_in, shared_validator
from support.reana_standin import ReanaStandin

EXAMPLES = Path(__file__).parents[2] / "examples"
SHELL = """
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {position: 1}}
  text: {type: "File?", inputBinding: {position: 2}}
outputs:
  made: {type: "File[]", outputBinding: {glob: "*"}}
"""
PATIENCE_SECONDS = 60.0


@pytest.fixture
def bench(tmp_path: Path, standin: ReanaStandin) -> Iterator[ReanaBench]:
    with reana_bench_in(tmp_path / "home", standin) as made:
        yield made


def _job(bench: Bench, script: str, **more: Any) -> Job:
    return bench.job(bench.shell(SHELL), {"script": script, **more})


def _rows(standin: ReanaStandin) -> list[dict[str, Any]]:
    """All runs that REANA knows, deleted ones as well."""
    given = {"type": "batch", "size": "100", "access_token": standin.token}
    found: list[dict[str, Any]] = httpx.get(f"{standin.url}/api/workflows", params=given, trust_env=False).json()[
        "items"
    ]
    return found


def _there(standin: ReanaStandin, method: str, path: str, **given: str) -> httpx.Response:
    """What somebody does in REANA's own interface."""
    parameters = {"access_token": standin.token, **given}
    return httpx.request(method, f"{standin.url}/api{path}", params=parameters, json={}, trust_env=False)


def _until(bench: ReanaBench, reference: str, *states: JobState) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while bench.engine.report(reference, "").state not in states:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _submitted(bench: ReanaBench, job: Job) -> str:
    """Submit as a worker does: again and again while the server does not answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            return bench.submit(job)
        except EngineUnreachable:
            time.sleep(0.1)
    raise TimeoutError


def _followed(bench: ReanaBench, reference: str) -> Seen:
    """Follow as a worker does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            return bench.follow(reference)
        except EngineUnreachable:
            time.sleep(0.2)
    raise TimeoutError


def _example(bench: Bench, name: str) -> Job:
    """An example of the repository, as it would be registered and submitted."""
    folder = EXAMPLES / name
    about = {".md", ".png", ".json", ".csv", ".yml"}
    parts = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in about]
    files = {str(path.relative_to(folder)): path.read_bytes() for path in parts}
    structure = shared_validator().check(Bundle(files, "main.cwl")).structure
    revision = RevisionRecord(
        workflow_id=1,
        group="group",
        name=name,
        version="1",
        number=1,
        created_at=clock.now(),
        created_by=Person("subject", "username"),
        digest=hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest(),
        main_path="main.cwl",
        structure=structure,
        files=tuple(BundleFile(path, bench.put(content.decode())) for path, content in files.items()),
    )
    return bench.job(revision, _with_files(bench, yaml.safe_load((folder / "inputs.yml").read_text()), folder))


def _with_files(bench: Bench, value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_with_files(bench, part, folder) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") == "File":
        path = folder / (value.get("location") or value["path"])
        return bench.file(path.read_text(), path.name)
    return {name: _with_files(bench, part, folder) for name, part in value.items()}


@pytest.mark.parametrize("name", ["first", "failing", "weather"])
def test_example_when_run_on_both_engines_then_the_graph_is_the_same(name: str, tmp_path: Path) -> None:
    shapes, seen = [], []
    with ExitStack() as stack:
        benches: list[Bench] = [
            stack.enter_context(reana_bench_in(tmp_path / "there")),
            stack.enter_context(bench_in(tmp_path / "here")),
        ]
        for bench in benches:
            job = _example(bench, name)
            seen.append(bench.follow(bench.submit(job)))
            shapes.append(shape_of(seen[-1].facts, job.inputs, seen[-1].report.outputs))
    assert shapes[0] == shapes[1]
    assert shapes[0]["steps"]
    assert seen[0].report.state is seen[1].report.state
    assert seen[0].report.reason == seen[1].report.reason


def test_submit_when_answers_are_lost_after_the_effect_then_one_run_there(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    job = _job(bench, "echo > made")
    standin.faults(lost_answers=3, routes="^POST .*(workflows|start)$")
    reference = _submitted(bench, job)
    assert _followed(bench, reference).report.state is JobState.FINISHED
    (row,) = _rows(standin)
    assert row["status"] == "finished"


def test_submit_when_killed_after_create_then_another_goes_on_with_the_same_run(
    bench: ReanaBench, standin: ReanaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(bench, "echo > made")

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # at the moment in which the id would be written down
        patch.setattr(Crumbs, "noting", _dying_at(Crumbs.noting, "workflow_id", dies))
        with pytest.raises(KeyboardInterrupt):
            bench.engine.submit(job)
    assert [row["status"] for row in _rows(standin)] == ["created"]
    reference = bench.submit(job)
    assert bench.follow(reference).report.state is JobState.FINISHED
    assert len(_rows(standin)) == 1


def _dying_at(noting: Any, field: str, dies: Any) -> Any:
    def changed(self: Crumbs, **changes: Any) -> Crumbs:
        if field in changes:
            dies()
        found: Crumbs = noting(self, **changes)
        return found

    return changed


@pytest.mark.parametrize("call", ["create", "upload", "start"])
def test_submit_when_over_quota_then_refused_in_words_and_nothing_is_left_there(
    bench: ReanaBench, standin: ReanaStandin, call: str
) -> None:
    standin.faults(over_quota=[call])
    with pytest.raises(EngineRefused, match="quota"):
        bench.submit(_job(bench, 'cat "$0" > made', text=bench.file("a", "a.txt")))
    standin.faults(over_quota=[])
    assert {row["status"] for row in _rows(standin)} <= {"deleted"}


def test_submit_when_the_token_is_wrong_then_refused_and_the_token_is_not_told(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    bench.token = "a-wrong-and-secret-token"
    with pytest.raises(EngineRefused) as refused:
        bench.submit(_job(bench, "true"))
    assert "token" in str(refused.value)
    assert bench.token not in str(refused.value)
    assert _rows(standin) == []


def test_submit_when_nobody_listens_then_unreachable(tmp_path: Path, standin: ReanaStandin) -> None:
    with reana_bench_in(tmp_path / "home", standin) as bench:
        standin.__exit__(None, None, None)
        with pytest.raises(EngineUnreachable):
            bench.submit(_job(bench, "true"))
        standin.__enter__()


def test_report_when_requests_fail_for_a_while_then_the_run_ends_all_the_same(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    reference = bench.submit(_job(bench, "sleep 1; echo > made"))
    standin.faults(bad_gateway=2, odd_404=2)
    assert _followed(bench, reference).report.state is JobState.FINISHED


def test_report_when_another_process_goes_on_then_it_tells_the_same(bench: ReanaBench) -> None:
    reference = bench.submit(_job(bench, "sleep 1; echo > made"))
    _until(bench, reference, JobState.RUNNING)
    bench.engine = bench.new_engine()  # type: ignore[assignment]  # as after a kill
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED
    bench.engine = bench.new_engine()  # type: ignore[assignment]  # as after another
    assert bench.engine.report(reference, "").facts == tuple(seen.facts)


def test_report_when_logs_come_late_then_the_record_waits_for_them(bench: ReanaBench, standin: ReanaStandin) -> None:
    standin.faults(late_logs_seconds=5)
    seen = bench.follow(bench.submit(_job(bench, "echo some words; echo > made")))
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    (ended,) = seen.ended.values()
    assert ended.exit_code == 0
    assert "some words" in (ended.stdout_tail or "")


def test_report_when_logs_are_lost_then_the_copy_in_the_workspace_tells(
    bench: ReanaBench, standin: ReanaStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stemma.engines.reana.following._LOGS_AFTER_SECONDS", 2.0)
    standin.faults(lost_logs=True)
    seen = bench.follow(bench.submit(_job(bench, "echo words > made")))
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    (made,) = [fact.occurrence for fact in seen.facts if isinstance(fact, FileSeen)]
    assert made.content.sha256 == hashlib.sha256(b"words\n").hexdigest()


def test_report_when_it_stays_pending_for_ever_then_failed_with_what_to_do_and_gone_there(
    tmp_path: Path, standin: ReanaStandin
) -> None:
    standin.faults(pending_forever=True)
    with reana_bench_in(tmp_path / "home", standin, reana_queue_limit_seconds=1) as bench:
        seen = bench.follow(bench.submit(_job(bench, "true")))
    assert seen.report.state is JobState.FAILED
    assert "STEMMA_REANA_QUEUE_LIMIT_SECONDS" in seen.report.reason
    assert [row["status"] for row in _rows(standin)] == ["deleted"]


def test_report_when_somebody_stops_it_there_then_stopped(bench: ReanaBench, standin: ReanaStandin) -> None:
    reference = bench.submit(_job(bench, "sleep 60"))
    _until(bench, reference, JobState.RUNNING)
    identity = bench.engine.report(reference, "").identity
    assert _there(standin, "PUT", f"/workflows/{identity.id}/status", status="stop").status_code == 200
    assert bench.follow(reference).report.state is JobState.STOPPED


def test_report_when_somebody_deletes_it_there_then_failed_and_says_so(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    standin.faults(queued_forever=True)
    reference = bench.submit(_job(bench, "true"))
    identity = bench.engine.report(reference, "").identity
    assert _there(standin, "PUT", f"/workflows/{identity.id}/status", status="deleted").status_code == 200
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FAILED
    assert "deleted on REANA" in seen.report.reason


def test_outputs_when_the_workspace_was_deleted_behind_our_back_then_refused_in_words(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    reference = bench.submit(_job(bench, "echo > made"))
    assert bench.follow(reference).report.state is JobState.FINISHED
    standin.lose_workspace(bench.engine.report(reference, "").identity.id)
    (file,) = bench.engine.outputs(reference)
    with pytest.raises((EngineRefused, EngineUnreachable)):
        list(file.chunks())


def test_report_when_the_token_is_revoked_meanwhile_then_refused(bench: ReanaBench, standin: ReanaStandin) -> None:
    reference = bench.submit(_job(bench, "sleep 3"))
    standin.faults(revoked=["alice"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    with pytest.raises(EngineRefused, match="token"):
        while time.monotonic() < deadline:
            bench.engine.report(reference, "")
            time.sleep(0.2)
    standin.faults(revoked=[])


def test_report_when_its_clock_is_an_hour_off_then_times_are_ours(bench: ReanaBench, standin: ReanaStandin) -> None:
    standin.faults(clock_skew_seconds=3600)
    began = clock.now()
    seen = bench.follow(bench.submit(_job(bench, "echo > made")))
    assert seen.report.state is JobState.FINISHED
    assert abs((seen.report.ended_at - began).total_seconds()) < 120


def test_report_when_a_tool_fails_after_writing_then_the_run_failed_with_its_exit_code(bench: ReanaBench) -> None:
    seen = bench.follow(bench.submit(_job(bench, "echo whole > made; echo why >&2; exit 7")))
    assert seen.report.state is JobState.FAILED
    (ended,) = seen.ended.values()
    assert ended.exit_code == 7
    assert "exit code 7" in seen.report.reason
    assert "why" in seen.report.reason


def test_report_when_a_tool_succeeds_and_leaves_nothing_then_finished(bench: ReanaBench) -> None:
    seen = bench.follow(bench.submit(_job(bench, "true")))
    assert seen.report.state is JobState.FINISHED, seen.report.reason
    assert seen.report.outputs["made"] == []


@pytest.mark.parametrize("name", ["with space", "a#b", "100%41", "[x]", "é", "ü*?.txt"])
def test_outputs_when_names_are_odd_then_the_bytes_that_were_promised(bench: ReanaBench, name: str) -> None:
    reference = bench.submit(_job(bench, f"echo odd > '{name}'"))
    seen = bench.follow(reference)
    if seen.report.state is JobState.FAILED:  # as on the embedded engine: cwltool refuses some names
        assert name in seen.report.reason or "illegal characters" in seen.report.reason
        return
    (file,) = bench.engine.outputs(reference)
    assert seen.occurrences[file.occurrence].basename == name
    assert b"".join(file.chunks()) == b"odd\n"


def test_check_when_an_image_has_no_bash_then_a_finding_says_what_to_do(bench: ReanaBench) -> None:
    revision = bench.shell(SHELL + "requirements: {DockerRequirement: {dockerPull: busybox}}\n")
    (finding,) = bench.engine.check(revision, "auto")
    assert "bash" in finding.message
    assert "another engine" in finding.message


def test_check_inputs_when_a_value_would_be_rewritten_then_a_finding(bench: ReanaBench) -> None:
    (finding,) = bench.engine.check_inputs({"script": "ls /tmp/a/b/c"})
    assert "script" in finding.message


def test_stop_when_it_waits_there_then_stopped_and_gone_there(bench: ReanaBench, standin: ReanaStandin) -> None:
    standin.faults(queued_forever=True)
    reference = bench.submit(_job(bench, "true"))
    bench.engine.stop(reference)
    seen = bench.follow(reference)
    assert seen.report.state is JobState.STOPPED
    assert not [fact for fact in seen.facts if isinstance(fact, StepStarted)]
    assert [row["status"] for row in _rows(standin)] == ["deleted"]


def test_delete_when_reana_does_not_let_it_then_raises_and_nothing_is_removed_here(
    bench: ReanaBench, standin: ReanaStandin
) -> None:
    reference = bench.submit(_job(bench, "echo > made"))
    bench.follow(reference)
    standin.faults(bad_gateway=50)
    with pytest.raises(EngineUnreachable):
        bench.engine.delete(reference)
    assert bench.journal(reference).exists()
    standin.faults(bad_gateway=0)
    bench.engine.delete(reference)
    assert not bench.journal(reference).exists()
    assert [row["status"] for row in _rows(standin)] == ["deleted"]
