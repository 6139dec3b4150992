"""Figures of replication, counted from the rows: each of them is written once, where it happens.

Counting goes on from where it stopped, so that it costs what is new and not what has ever been.
"""

from collections.abc import Collection
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, case, func, select, true
from sqlmodel import Session

from stemma.database.queries.insert import insert_missing
from stemma.database.queries.replicas import ReplicaState
from stemma.database.queries.storekeeping import ARCHIVED_ADDRESS
from stemma.database.tables import (
    AttemptRow,
    ReplicaRow,
    ReplicationRow,
    StepRow,
    StepWaitRow,
    StoreSpaceRow,
    table_of,
)

_REPLICA, _REPLICATION, _WAIT, _STEP, _ATTEMPT, _SPACE = (
    table_of(row) for row in (ReplicaRow, ReplicationRow, StepWaitRow, StepRow, AttemptRow, StoreSpaceRow)
)
_AT_A_TIME: Final = 200
_BACK: Final = (0, 1000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Needs:
    """How often runs found in the store what they needed from elsewhere."""

    hits: int = 0
    misses: int = 0
    saved_bytes: int = 0
    """Of the hits: what had not to be moved."""
    brought_back: int = 0
    """Of the misses: what had to come from the archive."""

    def __add__(self, other: "Needs") -> "Needs":
        return Needs(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Wait:
    """That a step waits for files, or did."""

    id: int
    run_id: int
    attempt: int
    key: str
    at: datetime


def newest_need(session: Session) -> int:
    """The number of the newest need."""
    return int(session.execute(select(func.coalesce(func.max(_REPLICATION.c.id), 0))).scalar_one())


def settled_need(session: Session, newest: int, before: datetime) -> int:
    """The number of a need that was noted before then, not far behind the newest of these; 0 where none is found."""
    for back in _BACK:
        query = select(_REPLICATION.c.id, _REPLICATION.c.requested_at).where(_REPLICATION.c.id <= newest - back)
        found = session.execute(query.order_by(_REPLICATION.c.id.desc()).limit(1)).first()
        if found is None:
            break
        if found.requested_at < before:
            return int(found.id)
    return 0


def needs_between(session: Session, after: int, until: int) -> Needs:
    """The needs with numbers above ``after``, ``until`` included. Whether one was a hit never changes."""
    hit = _REPLICATION.c.was_here == true()
    is_brought = _REPLICATION.c.was_here.is_not(None)  # what others read where it lies is neither
    numbered = _REPLICATION.c.id > after, _REPLICATION.c.id <= until, is_brought
    counts = select(func.count(), func.coalesce(func.sum(case((hit, 1), else_=0)), 0)).where(*numbered)
    every, hits = session.execute(counts).one()
    is_back = and_(~hit, _REPLICA.c.address.startswith(ARCHIVED_ADDRESS))
    sums = (
        select(*(func.coalesce(func.sum(case(of, else_=0)), 0) for of in ((hit, _REPLICA.c.size_bytes), (is_back, 1))))
        .select_from(_REPLICATION.join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id))
        .where(*numbered)
    )
    saved, brought_back = session.execute(sums).one()
    return Needs(int(hits), int(every) - int(hits), int(saved), int(brought_back))


def moving(session: Session) -> int:
    """How many copies are being moved now."""
    query = select(func.count()).where(_REPLICA.c.state == ReplicaState.MOVING.value)
    return int(session.execute(query).scalar_one())


def moved_bytes(session: Session) -> int:
    """What transfers brought, in all stores on this database; each transfer once, however many runs it was for."""
    return int(session.execute(select(func.coalesce(func.sum(_SPACE.c.moved_bytes), 0))).scalar_one())


def note_moved(session: Session, replica_id: int, size_bytes: int) -> None:
    """Count what a transfer brought, in the transaction that writes down its arrival: many runs may wait for one."""
    home = session.execute(select(_REPLICA.c.home).where(_REPLICA.c.id == replica_id)).scalar_one()
    columns = [column.name for column in _SPACE.columns if column.name != "home"]
    insert_missing(session, StoreSpaceRow, [{"home": home} | dict.fromkeys(columns, 0)])
    session.execute(_SPACE.update().where(_SPACE.c.home == home).values(moved_bytes=_SPACE.c.moved_bytes + size_bytes))


def waits_after(session: Session, after: int, limit: int) -> list[Wait]:
    """Waits with numbers above ``after``, in their order."""
    columns = [_WAIT.c[name] for name in ("id", "run_id", "attempt", "step_key", "at")]
    query = select(*columns).where(_WAIT.c.id > after).order_by(_WAIT.c.id).limit(limit)
    return [Wait(*row) for row in session.execute(query)]


def ends_of(session: Session, waits: Collection[Wait]) -> dict[int, datetime]:
    """When waits ended: where the step started, or ended without that, or its attempt did. Open ones are left out."""
    runs = sorted({wait.run_id for wait in waits})
    begun: dict[tuple[int, int, str], datetime] = {}
    over: dict[tuple[int, int], datetime] = {}
    for start in range(0, len(runs), _AT_A_TIME):
        part = runs[start : start + _AT_A_TIME]
        steps: Any = select(_STEP.c.run_id, _STEP.c.attempt, _STEP.c.step_key, _STEP.c.started_at)
        for run_id, attempt, key, at in session.execute(steps.where(_STEP.c.run_id.in_(part))):
            begun[run_id, attempt, key] = at
        attempts: Any = select(_ATTEMPT.c.run_id, _ATTEMPT.c.number, _ATTEMPT.c.ended_at)
        ended = attempts.where(_ATTEMPT.c.run_id.in_(part), _ATTEMPT.c.ended_at.is_not(None))
        over |= {(run_id, number): at for run_id, number, at in session.execute(ended)}
    ends = {
        wait.id: begun.get((wait.run_id, wait.attempt, wait.key)) or over.get((wait.run_id, wait.attempt))
        for wait in waits
    }
    return {number: at for number, at in ends.items() if at is not None}
