"""A worker that is told to end while it carries something large."""

import threading
from pathlib import Path

import pytest

from conftest import opened_installation
from stemma.lifecycle.execute import Progress
from stemma.records import Claim
from stemma.worker import loop
from stemma.worker.loop import Attended, Worker


def test_drain_when_a_look_goes_on_then_its_lease_is_renewed_and_what_waits_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewals, begun, looks = [], threading.Event(), []
    carried = threading.Event()

    def attend(*_: object) -> Progress:
        looks.append(1)
        begun.set()
        assert carried.wait(30)
        return Progress()

    def renew(worker: Worker) -> float:
        renewals.append(worker._draining.is_set())
        if renewals.count(True) >= 2:
            carried.set()
        return 0.05

    monkeypatch.setattr(loop, "attend", attend)
    monkeypatch.setattr(loop, "LOOKS_ELSEWHERE", 1)
    monkeypatch.setattr(Worker, "_renew", renew)
    monkeypatch.setattr(Worker, "_claim", lambda *_: 10.0)
    with opened_installation("sqlite", tmp_path / "home") as installation:
        worker = Worker(installation)
        worker.held = {number: Attended(Claim(number, 1), is_elsewhere=True) for number in range(1, 6)}
        thread = threading.Thread(target=worker.run)
        thread.start()
        assert begun.wait(30)
        worker.drain()
        thread.join(30)
        assert not thread.is_alive()
    assert carried.is_set()
    assert looks == [1]
