"""The run process: one an attempt, found again by whoever asks, and ended with all that it started."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stemma.engines.cwltool.folder import RunLock
from stemma.engines.protocol import JobState, StepStarted
from stemma.errors import EngineUnreachable
from stemma.forkserver import ForkServer
from stemma.states import StepState
from support.cwltool_bench import Bench, bench_in, wait_for

STUBBORN = "trap '' TERM; setsid sleep NUMBER & setsid -f sleep NUMBER; sleep NUMBER & while :; do sleep NUMBER; done"
"""A tool that does not listen, with children in its own session, in others, and of nobody."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_in(tmp_path) as made:
        yield made


@pytest.fixture
def number(tmp_path: Path) -> str:
    """A number of seconds that no other test sleeps, so that its processes can be told."""
    return str(100_000 + abs(hash(str(tmp_path))) % 1_000_000_000)


def _sleepers(number: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().split(b"\0")[:2] == [
                b"sleep",
                number.encode(),
            ]:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _start_stubborn(bench: Bench, number: str) -> str:
    reference, _ = bench.start(STUBBORN.replace("NUMBER", number))
    wait_for(lambda: len(_sleepers(number)) == 4)
    return reference


def test_stop_when_tools_do_not_listen_and_leave_the_session_then_all_are_ended(bench: Bench, number: str) -> None:
    reference = _start_stubborn(bench, number)
    begin = time.monotonic()
    bench.engine.stop(reference)
    assert time.monotonic() - begin < 2
    assert _sleepers(number) == []
    seen = bench.follow(reference)
    assert (seen.report.state, seen.report.reason) == (JobState.STOPPED, "it was stopped")
    assert seen.ended["tool"].state is StepState.STOPPED


def test_report_when_the_run_process_is_killed_then_lost(bench: Bench, number: str) -> None:
    reference = _start_stubborn(bench, number)
    assert bench.engine.report(reference, "").state is JobState.RUNNING
    os.kill(bench.process_id(reference), signal.SIGKILL)
    seen = bench.follow(reference)
    assert seen.report.state is JobState.LOST
    assert seen.report.reason
    assert list(seen.started) == ["tool"]


def test_stop_when_the_run_process_was_killed_then_what_it_left_is_ended_and_the_run_stopped(
    bench: Bench, number: str
) -> None:
    reference = _start_stubborn(bench, number)
    os.kill(bench.process_id(reference), signal.SIGKILL)
    bench.engine.stop(reference)
    assert _sleepers(number) == []
    assert bench.engine.report(reference, "").state is JobState.STOPPED


def test_stop_when_the_run_process_is_frozen_then_it_is_ended_all_the_same(bench: Bench, number: str) -> None:
    reference = _start_stubborn(bench, number)
    os.kill(bench.process_id(reference), signal.SIGSTOP)
    begin = time.monotonic()
    bench.engine.stop(reference)
    assert time.monotonic() - begin < 2.5
    assert _sleepers(number) == []
    assert bench.engine.report(reference, "").state is JobState.STOPPED


def test_submit_when_it_is_a_new_attempt_then_what_the_last_one_left_is_ended_first(bench: Bench, number: str) -> None:
    job = bench.job(bench.shell(), {"script": STUBBORN.replace("NUMBER", number)})
    reference = bench.submit(job)
    wait_for(lambda: len(_sleepers(number)) == 4)
    os.kill(bench.process_id(reference), signal.SIGKILL)
    again = replace(job, attempt=2, inputs={"script": "echo made > made.txt"})
    seen = bench.follow(bench.submit(again))
    assert seen.reference.endswith("/2")
    assert seen.report.state is JobState.FINISHED
    assert _sleepers(number) == []


def test_finish_when_a_tool_left_something_running_then_it_is_ended(bench: Bench, number: str) -> None:
    script = f"setsid -f sleep {number} >/dev/null 2>&1; sleep {number} & echo made > made.txt"
    seen = bench.run(bench.shell(), {"script": script})
    assert seen.report.state is JobState.FINISHED
    wait_for(lambda: not RunLock.is_held(bench.runs / seen.reference / "lock"))
    assert _sleepers(number) == []


def test_time_limit_when_the_attempt_takes_longer_then_it_fails_and_says_so(bench: Bench, number: str) -> None:
    seen = bench.run(bench.shell(), {"script": f"sleep {number}"}, time_limit_seconds=0.5)
    assert seen.report.state is JobState.FAILED
    assert "time limit of 0.5 seconds" in seen.report.reason
    assert seen.ended["tool"].state is StepState.STOPPED
    assert _sleepers(number) == []


def test_submit_when_many_ask_at_once_then_one_process_runs(bench: Bench) -> None:
    job = bench.job(bench.shell(), {"script": "echo x >> ../../count; echo made > made.txt"})
    bench.submit(job)
    for _ in range(5):
        bench.submit(job)
    seen = bench.follow(bench.submit(job))
    assert (bench.runs / seen.reference / "count").read_text() == "x\n"


def test_submit_when_another_process_asked_before_then_it_is_the_same_run(bench: Bench, tmp_path: Path) -> None:
    job = bench.job(bench.shell(), {"script": "echo x >> ../../count; sleep 0.3; echo made > made.txt"})
    folder = bench.runs / f"{job.run_uuid}/1"
    bench.engine._folder(f"{job.run_uuid}/1").lay_out(job.revision.files, bench.engine._order(job), bench.store_path)
    server = ForkServer("stemma.engines.cwltool.process:serve", detached=True)
    try:
        with server.request({"folder": str(folder)}) as one, server.request({"folder": str(folder)}) as two:
            answers = [one.receive(30)["started"], two.receive(30)["started"]]
    finally:
        server.close()
    assert sorted(answers) == [False, True]
    seen = bench.follow(bench.submit(job))
    assert seen.report.state is JobState.FINISHED
    assert (folder / "count").read_text() == "x\n"


def test_run_when_whoever_asked_is_gone_then_it_goes_on(tmp_path: Path) -> None:
    server = ForkServer("stemma.engines.cwltool.process:serve", detached=True)
    with bench_in(tmp_path, fork_server=server) as bench:
        reference, _ = bench.start("sleep 0.5; echo made > made.txt")
        bench.engine.close()
        assert bench.follow(reference).report.state is JobState.FINISHED


def test_submit_when_the_parent_cannot_be_started_then_unreachable_and_nothing_runs(tmp_path: Path) -> None:
    server = ForkServer("no_such_module:serve", detached=True)
    with bench_in(tmp_path, fork_server=server) as bench:
        job = bench.job(bench.shell(), {"script": "true"})
        with pytest.raises(EngineUnreachable):
            bench.submit(job)
        assert bench.engine.report(f"{job.run_uuid}/1", "").state is JobState.LOST
        server.close()


def test_lock_when_a_tool_runs_then_it_does_not_have_it(bench: Bench, number: str) -> None:
    bench.start(f"sleep {number}")
    wait_for(lambda: bool(_sleepers(number)))
    (sleeper,) = _sleepers(number)
    opened = [str(path.readlink()) for path in Path(f"/proc/{sleeper}/fd").iterdir()]
    assert not [path for path in opened if path.endswith(("lock", "journal.jsonl")) or path.startswith("socket:")]


def test_lock_when_looked_at_all_the_time_then_a_run_starts_all_the_same(bench: Bench) -> None:
    job = bench.job(bench.shell(), {"script": "echo made > made.txt"})
    lock = bench.runs / f"{job.run_uuid}/1/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    looker = subprocess.Popen(["sh", "-c", f"for i in $(seq 40); do flock -s {lock} sleep 0.01; done"])
    try:
        assert bench.follow(bench.submit(job)).report.state is JobState.FINISHED
    finally:
        looker.kill()
        looker.wait()


def test_report_when_the_journal_is_long_then_it_comes_in_pieces(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemma.engines.cwltool.engine._REPORT_BYTES", 300)
    reference = bench.submit(bench.job(bench.shell(), {"script": "echo made > made.txt"}))
    seen = bench.follow(reference)
    assert seen.report.state is JobState.FINISHED
    assert bench.engine.report(reference, "").state is JobState.RUNNING
    assert len([fact for fact in seen.facts if isinstance(fact, StepStarted)]) == 1


def test_delete_when_a_tool_left_a_locked_folder_then_it_is_removed(bench: Bench) -> None:
    seen = bench.run(bench.shell(), {"script": "mkdir d; touch d/x; chmod 0 d; echo made > made.txt"})
    bench.engine.delete(seen.reference)
    assert not (bench.runs / seen.reference).parent.exists()


def test_environment_when_a_run_begins_then_it_says_where(bench: Bench) -> None:
    seen = bench.run(bench.shell(), {"script": "echo made > made.txt"})
    assert seen.environment["cores"] == 2
    assert seen.environment["containers"] == "auto"
    assert seen.environment["container_engine"] is None
    assert seen.environment["host"]
    assert seen.environment["cwltool"] in bench.engine.describe().version
