"""The bell: a nudge is noticed, a missed one harms nobody, dead workers leave nothing."""

import os
import threading
import time
from pathlib import Path

import pytest

from stemma.wake import Bell, wake_workers


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
    assert [bell.wait(0) for bell in bells] == [True] * 3
    for bell in bells:
        bell.close()


def test_wake_when_a_worker_died_takes_its_pipe_away(home: Path) -> None:
    (home / "wake").mkdir()
    os.mkfifo(home / "wake" / "dead.pipe")
    wake_workers(home)
    assert list((home / "wake").iterdir()) == []


def test_wake_when_nobody_listens_is_no_error(home: Path) -> None:
    wake_workers(home)


def test_ring_when_called_far_too_often_never_blocks(home: Path) -> None:
    bell = Bell(home, "w")
    for _ in range(100_000):
        bell.ring()
    assert bell.wait(0)
    bell.close()
