"""A worker that is told to end while it carries something large."""

import threading
from pathlib import Path

import pytest

from conftest import opened_installation
from stemma.records import Claim
from stemma.worker import loop
from stemma.worker.loop import Attended, Worker


class Carrying(Worker):
    """A worker whose looks last until its leases were renewed twice after it was told to drain.

    What is its own is overridden, and nothing replaced in the module: other tests' workers live in this process.
    """

    __slots__ = ("begun", "carried", "looks", "renewals")

    def _attend(self, attended: Attended) -> None:
        self.looks.append(attended.claim.run_id)
        self.begun.set()
        attended.over = self.carried.wait(30)

    def _renew(self) -> float:
        self.renewals.append(self._draining.is_set())
        if self.renewals.count(True) >= 2:
            self.carried.set()
        return 0.05

    def _claim(self, here: int, elsewhere: int) -> float:
        del here, elsewhere
        return 10.0


def test_drain_when_a_look_goes_on_then_its_lease_is_renewed_and_what_waits_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LOOKS_ELSEWHERE", 1)
    with opened_installation("sqlite", tmp_path / "home") as installation:
        worker = Carrying(installation)
        worker.looks, worker.renewals = [], []
        worker.begun, worker.carried = threading.Event(), threading.Event()
        worker.held = {number: Attended(Claim(number, 1), is_elsewhere=True) for number in range(1, 6)}
        thread = threading.Thread(target=worker.run)
        thread.start()
        assert worker.begun.wait(30)
        worker.drain()
        thread.join(60)
        assert not thread.is_alive()
    assert worker.carried.is_set()
    assert worker.looks == [1]
