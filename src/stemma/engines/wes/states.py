"""What the states of a WES server mean here (WES 1.1, State)."""

from stemma.engines.protocol import JobState

UNKNOWN = "UNKNOWN"
COMPLETE = "COMPLETE"
CANCELED = "CANCELED"

_MEANINGS: dict[str, JobState | None] = {
    UNKNOWN: None,
    "QUEUED": JobState.PENDING,
    "INITIALIZING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "PAUSED": JobState.RUNNING,
    "CANCELING": None,  # it is what it was, until it is over
    COMPLETE: JobState.FINISHED,
    "EXECUTOR_ERROR": JobState.FAILED,
    "SYSTEM_ERROR": JobState.FAILED,
    CANCELED: JobState.STOPPED,
    "PREEMPTED": JobState.LOST,
    "DELETING": JobState.LOST,  # beyond the standard: Sapporo
    "DELETED": JobState.LOST,
}

_SENTENCES = {
    "EXECUTOR_ERROR": "a tool or the workflow itself failed on the WES server (EXECUTOR_ERROR)",
    "SYSTEM_ERROR": "the WES server failed while it ran the workflow (SYSTEM_ERROR)",
    CANCELED: "it was stopped",
    "PREEMPTED": "the WES server took its machine away (PREEMPTED)",
    "DELETING": "it was deleted on the WES server",
    "DELETED": "it was deleted on the WES server",
}


def meaning(state: str) -> JobState | None:
    """Where a job is whose server says ``state``; None when that does not tell."""
    return _MEANINGS.get(state)


def sentence(state: str) -> str | None:
    """Why a job ended that ended in ``state``, for people; None for a good end and for those that are none."""
    return _SENTENCES.get(state)
