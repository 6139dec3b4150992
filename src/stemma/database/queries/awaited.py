"""What a run still waits for from elsewhere, and how far that is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, case, func, select
from sqlmodel import Session

from stemma.database.prepared import Prepared
from stemma.database.queries.replicas import NeedState, ReplicaState
from stemma.database.tables import OccurrenceRow, ReplicaRow, ReplicationRow, StepRow, StepWaitRow, table_of
from stemma.records import Json

_REPLICATION, _REPLICA, _OCCURRENCE, _WAIT, _STEP = (
    table_of(row) for row in (ReplicationRow, ReplicaRow, OccurrenceRow, StepWaitRow, StepRow)
)
_ARE_HERE: Final = frozenset({NeedState.HERE.value, NeedState.DELIVERED.value, NeedState.GIVEN.value})
_NAMED: Final = 500

_ANY: Final = Prepared(select(_REPLICATION.c.id).where(_REPLICATION.c.run_id == bindparam("run_id")).limit(1))
"""Asked for every run that is shown; most need nothing from elsewhere."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A file that a run waits for."""

    occurrence: UUID
    number: int
    """Of the file in this service."""
    basename: str
    port: str
    source: dict[str, Json]
    size_bytes: int | None
    moved_bytes: int
    """When that was written down last."""
    state: ReplicaState
    tries: int
    error: str | None
    not_before: datetime
    started_at: datetime | None
    lease_until: datetime
    fence: int


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a run needs from elsewhere, in figures."""

    here: int = 0
    waiting: int = 0
    failed: int = 0
    handed: int = 0
    """Read where they lie by the engine's server: they are not brought here."""
    wanted_bytes: int = 0
    """Of the files whose size is known."""
    here_bytes: int = 0
    moved_bytes: int = 0
    """Over the network, for this run."""

    @property
    def files(self) -> int:
        """All of them."""
        return self.here + self.waiting + self.failed + self.handed


def arrivals(session: Session, run_id: int) -> Arrivals | None:
    """How far a run's inputs from elsewhere are; None where it has none."""
    if not _ANY.rows(session, run_id=run_id):
        return None
    is_moving = case((_REPLICA.c.state == ReplicaState.MOVING.value, 1), else_=0)
    query = (
        select(
            _REPLICATION.c.state,
            func.count(),
            func.coalesce(func.sum(_REPLICA.c.size_bytes), 0),
            func.coalesce(func.sum(_REPLICATION.c.moved_bytes), 0),
            func.coalesce(func.sum(is_moving * _REPLICA.c.moved_bytes), 0),
        )
        .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
        .where(_REPLICATION.c.run_id == run_id)
        .group_by(_REPLICATION.c.state)
    )
    here = waiting = failed = handed = wanted = here_bytes = moved = 0
    for state, count, size, before, now in session.execute(query):
        if state == NeedState.HANDED:
            handed += count
            continue
        wanted, moved = wanted + int(size), moved + int(before)
        if state in _ARE_HERE:
            here, here_bytes = here + count, here_bytes + int(size)
        elif state == NeedState.WAITING:
            waiting, moved = waiting + count, moved + int(now)
        else:
            failed += count
    return Arrivals(here, waiting, failed, handed, wanted, here_bytes, moved)


def waiting_steps(session: Session, run_id: int, attempt: int) -> dict[str, tuple[UUID, ...]]:
    """The step executions of an attempt that wait for files right now, and for which files each waits."""
    query = select(_WAIT.c.step_key, _WAIT.c.occurrences).where(_WAIT.c.run_id == run_id, _WAIT.c.attempt == attempt)
    waits = {key: tuple(map(UUID, occurrences)) for key, occurrences in session.execute(query.order_by(_WAIT.c.id))}
    if not waits:
        return {}
    begun = select(_STEP.c.step_key).where(_STEP.c.run_id == run_id, _STEP.c.attempt == attempt)
    for key in session.execute(begun).scalars():
        waits.pop(key, None)
    return waits


def awaited(session: Session, run_id: int, first: list[UUID], limit: int) -> list[Awaited]:
    """At most ``limit`` files that a run waits for: those of ``first``, then others; what moves goes first."""
    found = _awaited(session, run_id, limit, _REPLICATION.c.occurrence.in_(first[:_NAMED])) if first else []
    if len(found) < limit:
        known = {one.occurrence for one in found}
        more = _awaited(session, run_id, limit)
        found += [one for one in more if one.occurrence not in known][: limit - len(found)]
    return found


def _awaited(session: Session, run_id: int, limit: int, *which: Any) -> list[Awaited]:
    columns = [
        _REPLICA.c[name]
        for name in ("size_bytes", "moved_bytes", "state", "tries", "error", "not_before", "started_at",
                     "lease_until", "fence")
    ]  # fmt: skip
    is_still = case((_REPLICA.c.state == ReplicaState.MOVING.value, 0), else_=1)
    query = (
        select(
            _REPLICATION.c.occurrence,
            _OCCURRENCE.c.id.label("number"),
            _OCCURRENCE.c.basename,
            _OCCURRENCE.c.port,
            _REPLICATION.c.source,
            *columns,
        )
        .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
        .join(_OCCURRENCE, _OCCURRENCE.c.uuid == _REPLICATION.c.occurrence)
        .where(_REPLICATION.c.run_id == run_id, _REPLICATION.c.state == NeedState.WAITING.value, *which)
        .order_by(is_still, _REPLICATION.c.id)
        .limit(limit)
    )
    return [Awaited(**{**row._mapping, "state": ReplicaState(row.state)}) for row in session.execute(query)]  # noqa: SLF001 - SQLAlchemy's public way
