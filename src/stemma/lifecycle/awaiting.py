"""What an execution waits for from elsewhere: which files, which steps want them, how fast they come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlmodel import Session

from stemma import clock
from stemma.database.queries import awaited
from stemma.database.queries.awaited import Arrivals, Awaited
from stemma.database.queries.replicas import ReplicaState
from stemma.records import RunSummary

MOST_FILES: Final = 50
"""How many of them are told of one by one."""
MOST_STEPS: Final = 20
"""How many steps are named for each."""
_SILENT_LEASES: Final = 2.0
"""After so many leases without a word nobody moves it any more."""


@dataclass(frozen=True, slots=True)
class AwaitedFile:
    """A file that has not come yet."""

    file: Awaited
    steps: tuple[str, ...]
    """The keys of the step executions that wait for it right now."""
    bytes_per_second: float | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Awaiting:
    """How far a run's inputs from elsewhere are."""

    arrivals: Arrivals
    waiting_steps: int = 0
    """How many step executions wait right now."""
    files: Sequence[AwaitedFile] = ()


def awaiting(session: Session, run: RunSummary, lease_seconds: float) -> Awaiting | None:
    """What ``run`` waits for; None where it needs nothing from elsewhere.

    ``lease_seconds`` is how long those who move files hold them without a word: it tells when they spoke last.
    """
    found = awaited.arrivals(session, run.id)
    if found is None or not found.waiting or run.state.is_terminal:
        return None if found is None else Awaiting(found)
    waits = awaited.waiting_steps(session, run.id, run.attempt)
    wanted_by: dict[UUID, list[str]] = {}
    for key, occurrences in waits.items():
        for uuid in occurrences:
            wanted_by.setdefault(uuid, []).append(key)
    now = clock.now()
    files = [
        AwaitedFile(file, tuple(wanted_by.get(file.occurrence, ())), *pace(file, now, lease_seconds))
        for file in awaited.awaited(session, run.id, list(wanted_by), MOST_FILES)
    ]
    return Awaiting(found, len(waits), files)


def pace(file: Awaited, now: datetime, lease_seconds: float) -> tuple[float | None, float | None]:
    """Bytes per second of a transfer and the seconds that it has left, each None where it is not known.

    What has come is written down every few seconds, when the lease is renewed. Of a transfer that may have gone on from
    what an earlier one left, it is not known how much it moved itself.
    """
    if file.state is not ReplicaState.MOVING or file.started_at is None or file.fence > 1:
        return None, None
    since_renewal = (now - file.lease_until).total_seconds() + lease_seconds
    took = (now - file.started_at).total_seconds() - since_renewal
    if took <= 0 or file.moved_bytes <= 0 or since_renewal > _SILENT_LEASES * lease_seconds:
        return None, None
    speed = file.moved_bytes / took
    if file.size_bytes is None or file.moved_bytes > file.size_bytes:
        return speed, None
    return speed, max(0.0, (file.size_bytes - file.moved_bytes) / speed - since_renewal)
