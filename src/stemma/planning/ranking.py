"""Which of the steps that compete for a link comes next: by rule within a run, by fair shares between runs."""

import heapq
from typing import NamedTuple

from stemma.planning.known import Known

_Entry = tuple[float, float, int]


class Rule(NamedTuple):
    """How the steps of a run that want their files now are ranked."""

    tail: float
    """What a second of what hangs on a step is worth."""
    transfer: float
    """What a second of transfer costs."""
    looks_ahead: bool = True
    """Steps that would not wait yet come behind those that would; else all are ranked alike."""


class Ranking:
    """Steps that wait to be served."""

    def __init__(self, known: Known, rule: Rule, tails: list[float], left: list[float]) -> None:
        self._rule = rule
        self._tails = tails
        self._left = left
        """Seconds of transfer that each step lacks; changes from outside."""
        self._runs = [step.run for step in known.steps]
        self._served = {key: run.served_bytes / max(run.weight, 1e-9) for key, run in known.runs.items()}
        self._weights = {key: max(run.weight, 1e-9) for key, run in known.runs.items()}
        self._later: list[tuple[float, int]] = []
        self._now: dict[str, list[_Entry]] = {key: [] for key in known.runs}
        self._entries: dict[int, _Entry] = {}
        """The valid entry of each step that wants its files now; others in the heaps are out of date."""
        self._came = {key: run.came for key, run in known.runs.items()}
        self._turns: list[tuple[float, float, str]] = []
        self._waiting: set[int] = set()

    def __contains__(self, step: int) -> bool:
        return step in self._waiting

    def add(self, step: int, need: float) -> None:
        """A step is to be served whose other conditions hold in ``need`` seconds."""
        self._waiting.add(step)
        if self._rule.looks_ahead:
            heapq.heappush(self._later, (need - self._left[step], step))
        else:
            self._want(step)

    def remove(self, step: int) -> None:
        """It is served."""
        self._waiting.discard(step)
        self._entries.pop(step, None)

    def look_again(self, steps: list[int]) -> None:
        """What these steps lack has changed."""
        for step in steps:
            if step in self._entries:
                self._want(step)

    def count(self, step: int, moved_bytes: int) -> None:
        """The step's run got so much of a link."""
        run = self._runs[step]
        self._served[run] += moved_bytes / self._weights[run]

    def first(self, now: float) -> int | None:
        """Whom to serve at this moment: of the run that got least, the first by rule."""
        while self._later and (self._later[0][1] not in self._waiting or self._later[0][0] <= now):
            step = heapq.heappop(self._later)[1]
            if step in self._waiting:
                self._want(step)
        while self._turns:
            served, _, run = self._turns[0]
            heap = self._now[run]
            while heap and self._entries.get(heap[0][2]) is not heap[0]:
                heapq.heappop(heap)
            if not heap:
                heapq.heappop(self._turns)
            elif served != self._served[run]:
                heapq.heapreplace(self._turns, (self._served[run], self._came[run], run))
            else:
                return heap[0][2]
        return self._later[0][1] if self._later else None

    def _want(self, step: int) -> None:
        run = self._runs[step]
        left = self._left[step]
        entry = (self._rule.transfer * left - self._rule.tail * self._tails[step], left, step)
        if not self._now[run]:
            heapq.heappush(self._turns, (self._served[run], self._came[run], run))
        self._entries[step] = entry
        heapq.heappush(self._now[run], entry)
