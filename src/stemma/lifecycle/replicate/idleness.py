"""How long ago something happened in a run: what has its files may be about to start."""

from collections import defaultdict
from collections.abc import Iterable

from stemma.planning.situation import StepNeed


class Idleness:
    """Looks at the steps of each decision. Who has just begun to look takes every run to be busy."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[int, float]] = {}
        """By run: what its steps were like, and since when."""

    def look(self, steps: Iterable[StepNeed], now: float) -> dict[str, float]:
        """For how many seconds nothing began, ended or began to wait, by run. ``now`` is any clock that grows."""
        states: dict[str, list[tuple[str, bool, bool]]] = defaultdict(list)
        for step in steps:
            states[step.run].append((step.key, step.is_running, step.is_waiting))
        found = {run: hash(frozenset(state)) for run, state in states.items()}
        self._since = {
            run: before if (before := self._since.get(run)) is not None and before[0] == state else (state, now)
            for run, state in found.items()
        }
        return {run: now - since for run, (_, since) in self._since.items()}
