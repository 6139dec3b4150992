"""Where the steps of a run are, put together from its events. Pure: knows no terminal and no service."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stemma.client.models import Event, path_of
from stemma.states import RunState, StepState

_ORDER = (StepState.FAILED, StepState.STOPPED, StepState.RUNNING, StepState.FINISHED, StepState.SKIPPED)
"""Of several executions, the state that tells most about them comes first."""


@dataclass(slots=True)
class Line:
    """One step of the document with all its executions: one, or as many as a scatter makes."""

    path: str
    is_workflow: bool = False
    states: dict[str, StepState] = field(default_factory=dict)
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def counts(self) -> Counter[StepState]:
        """How many executions are in which state."""
        return Counter(self.states.values())

    @property
    def state(self) -> StepState | None:
        """The state of the step as a whole; None before it starts."""
        return next((state for state in _ORDER if state in self.states.values()), None)

    @property
    def ended(self) -> int:
        """How many executions have ended."""
        return sum(state.is_terminal for state in self.states.values())


@dataclass(slots=True)
class Board:
    """All steps, in the order of the document where that is known, else of their start."""

    lines: dict[str, Line] = field(default_factory=dict)
    state: RunState = RunState.QUEUED
    started_at: datetime | None = None

    @classmethod
    def of_steps(cls, steps: Iterable[Mapping[str, Any]]) -> "Board":
        """A board of the steps that a service tells of a document, none of them started."""
        return cls({step["path"]: Line(step["path"], step["kind"] == "workflow") for step in _flat(steps)})

    @property
    def shown(self) -> list[Line]:
        """The lines of what runs; a sub-workflow is what its steps are."""
        return [line for line in self.lines.values() if not line.is_workflow]

    @property
    def progress(self) -> tuple[int, int]:
        """How many step executions have ended, and how many are known of."""
        ended = sum(line.ended for line in self.shown)
        return ended, max(ended, sum(max(1, len(line.states)) for line in self.shown))

    def take(self, event: Event) -> None:
        """Take in what happened."""
        if event.step_key is None:
            self._take_run(event)
        else:
            self._take_step(event, event.step_key)

    def duration_of(self, key: str, event: Event) -> float | None:
        """How long the step took that ``event`` ended; None for a scattered one, whose start is not kept."""
        line = self.lines.get(path_of(key))
        if line is None or event.at is None or line.started_at is None or len(line.states) > 1:
            return None
        return (event.at - line.started_at).total_seconds()

    def _take_run(self, event: Event) -> None:
        state = RunState(event.state)
        if state is RunState.PENDING and self.state is RunState.RUNNING:  # attempted anew, from the start
            for line in self.lines.values():
                line.states, line.started_at, line.ended_at = {}, None, None
        if state is RunState.RUNNING and self.started_at is None:
            self.started_at = event.at
        self.state = state

    def _take_step(self, event: Event, key: str) -> None:
        path = path_of(key)
        line = self.lines.setdefault(path, Line(path))
        state = StepState(event.state)
        line.states[key] = state
        if line.started_at is None:
            line.started_at = event.at
        if state.is_terminal:
            line.ended_at = event.at


def _flat(steps: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for step in steps:
        yield step
        yield from _flat(step.get("steps") or ())
