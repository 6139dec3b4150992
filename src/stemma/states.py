"""The states of a run and of its steps, and the only ways from one to the next.

The words are REANA's, since clients know them. A run goes

    created ─ queued ─ pending ─ running ─ finished | failed | stopped ─ deleted

and from ``running`` back to ``pending`` when its engine lost it and it is attempted anew.
"""

from enum import StrEnum


class RunState(StrEnum):
    """Where a run is."""

    CREATED = "created"
    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    DELETED = "deleted"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will happen to the run any more, except its deletion."""
        return self in TERMINAL_RUN_STATES


class StepState(StrEnum):
    """Where one execution of a step is."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    """Its ``when`` was false (CWL v1.2, Workflow §4.3)."""

    @property
    def is_terminal(self) -> bool:
        """Whether the step has ended."""
        return self is not StepState.RUNNING


TERMINAL_RUN_STATES = frozenset(
    {RunState.FINISHED, RunState.FAILED, RunState.STOPPED, RunState.DELETED},
)

_ENDINGS = frozenset({RunState.FAILED, RunState.STOPPED})

RUN_TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.CREATED: frozenset({RunState.QUEUED}) | _ENDINGS,
    RunState.QUEUED: frozenset({RunState.PENDING}) | _ENDINGS,
    RunState.PENDING: frozenset({RunState.RUNNING}) | _ENDINGS,
    RunState.RUNNING: frozenset({RunState.PENDING, RunState.FINISHED}) | _ENDINGS,
    RunState.FINISHED: frozenset({RunState.DELETED}),
    RunState.FAILED: frozenset({RunState.DELETED}),
    RunState.STOPPED: frozenset({RunState.DELETED}),
    RunState.DELETED: frozenset(),
}


def may_advance(state: RunState, to: RunState) -> bool:
    """Whether a run may go from ``state`` to ``to``."""
    return to in RUN_TRANSITIONS[state]
