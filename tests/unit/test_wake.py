"""The bell: a nudge is noticed, a missed one harms nobody, dead workers leave nothing."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import UUID

import pytest

from stemma.wake import Bell, Following, tell_followers, tell_workers, wake_workers


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def test_wait_when_nudged_returns_at_once(home: Path) -> None:
    bell = Bell(home, "w")
    threading.Timer(0.1, wake_workers, args=[home]).start()
    began = time.monotonic()
    assert bell.wait(10)
    assert time.monotonic() - began < 5
    bell.close()


def test_wait_when_nudged_before_knows_it_once(home: Path) -> None:
    bell = Bell(home, "w")
    for _ in range(5):
        wake_workers(home)
    assert bell.wait(0)
    assert not bell.wait(0)
    bell.close()


def test_wake_when_several_workers_nudges_each(home: Path) -> None:
    bells = [Bell(home, f"w{number}") for number in range(3)]
    wake_workers(home)
    assert all(bell.wait(0) for bell in bells)
    for bell in bells:
        bell.close()


def test_wake_when_a_worker_died_takes_its_pipe_away(home: Path) -> None:
    (home / "wake").mkdir()
    os.mkfifo(home / "wake" / "dead.pipe")
    wake_workers(home)
    assert list((home / "wake").iterdir()) == []


def killed_while_making(home: Path, at: str) -> subprocess.Popen[bytes]:
    """A process that makes its pipe, and comes no further than ``at``."""
    code = (
        "import os, sys, time; from pathlib import Path; from stemma.wake import Bell\n"
        f"{at} = lambda *_, **__: (print('there', flush=True), time.sleep(60))\n"
        "Bell(Path(sys.argv[1]), 'first')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    return process


@pytest.mark.parametrize("at", ["os.open", "Path.rename"])
def test_bell_when_another_worker_was_killed_while_it_made_its_own_clears_what_it_left(home: Path, at: str) -> None:
    with killed_while_making(home, at) as process:
        process.kill()
    assert (home / "wake" / "first.new").is_fifo()
    bell = Bell(home, "second")
    assert [path.name for path in (home / "wake").glob("first*")] == []
    wake_workers(home)
    assert bell.wait(0)
    bell.close()


def test_bell_when_another_worker_makes_its_own_waits_and_leaves_it_alone(home: Path) -> None:
    with killed_while_making(home, "Path.rename") as process:
        made: list[Bell] = []
        thread = threading.Thread(target=lambda: made.append(Bell(home, "second")))
        thread.start()
        thread.join(0.3)
        assert not made
        assert (home / "wake" / "first.new").is_fifo()
        process.kill()
    thread.join(10)
    made[0].close()


def test_wake_when_nobody_listens_is_no_error(home: Path) -> None:
    wake_workers(home)


def test_ring_when_called_far_too_often_never_blocks(home: Path) -> None:
    bell = Bell(home, "w")
    for _ in range(100_000):
        bell.ring()
    assert bell.wait(0)
    bell.close()


def test_tell_when_the_process_of_a_run_says_something_names_that_run_and_no_work(home: Path) -> None:
    run, other = UUID(int=1), UUID(int=2)
    bell = Bell(home, "w")
    tell_workers(home, run)
    heard = bell.wait(0)
    assert (heard.is_of(run), heard.is_of(other), heard.has_work) == (True, False, False)
    bell.close()


def test_wait_when_told_of_work_and_of_a_run_hears_both(home: Path) -> None:
    run = UUID(int=1)
    bell = Bell(home, "w")
    wake_workers(home)
    tell_workers(home, run)
    heard = bell.wait(0)
    assert heard.has_work
    assert heard.is_of(run)
    bell.close()


def test_ring_when_a_worker_rings_for_itself_tells_of_nothing(home: Path) -> None:
    bell = Bell(home, "w")
    bell.ring()
    heard = bell.wait(0)
    assert heard
    assert not heard.has_work
    assert not any(heard.is_of(UUID(int=number)) for number in range(300))
    bell.close()


def test_following_when_its_run_has_news_knows_it_once(home: Path) -> None:
    (home / "wake").mkdir()
    following, other = Following(home, 1), Following(home, 2)
    assert not following.has_news()
    for _ in range(2):
        tell_followers(home, 1)
        assert following.has_news()
        assert not following.has_news()
    assert not other.has_news()


def test_bell_when_others_ring_while_it_is_made_then_its_pipe_stays(home: Path) -> None:
    is_over = threading.Event()

    def ring() -> None:
        while not is_over.is_set():
            wake_workers(home)

    ringing = threading.Thread(target=ring)
    ringing.start()
    try:
        for number in range(500):
            bell = Bell(home, f"w{number}")
            is_there = (home / "wake" / f"w{number}.pipe").exists()
            bell.close()
            assert is_there
    finally:
        is_over.set()
        ringing.join()
    assert [path.name for path in (home / "wake").iterdir()] == ["lock"]


def test_tell_followers_when_it_cannot_be_written_is_no_error(home: Path) -> None:
    (home / "wake").write_text("no folder: NotADirectoryError, as for whatever else a disk may say")
    tell_followers(home, 1)


def test_tell_followers_when_the_data_folder_is_gone_is_no_error(home: Path) -> None:
    tell_followers(home / "gone", 1)
    assert not (home / "gone").exists()
