"""Copies that have arrived in the store, one or many at once, and what files of runs turned out to be by that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlmodel import Session

from stemma import clock
from stemma.database.queries import replication_figures, transfers
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import NO_VERSION, NeedState, ReplicaState
from stemma.database.tables import OccurrenceRow, ReplicaRow, ReplicationRow, table_of
from stemma.records import Content, Json

_REPLICA, _REPLICATION, _OCCURRENCE = (table_of(row) for row in (ReplicaRow, ReplicationRow, OccurrenceRow))
_NOT_THE_SAME: Final = "it changed at its source after this run had read it, and was dropped here; run it again"
_FEW: Final = 3
"""So many are written down one by one."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A transfer that brought a copy."""

    replica_id: int
    fence: int
    content: Content
    verified: str
    moved_bytes: int
    started_at: datetime
    ended_at: datetime
    version: str | None = None
    """Which one came, where the source changed after it was looked at."""
    told: dict[str, Json] = field(default_factory=dict)
    shown: str = ""
    """The address as it may be recorded."""


def arrive(session: Session, arrival: Arrival) -> set[int] | None:
    """It is in the store; the runs that need it, or None where the claim was lost meanwhile."""
    values = {
        "state": ReplicaState.HERE.value,
        "sha256": arrival.content.sha256,
        "size_bytes": arrival.content.size_bytes,
        "verified": arrival.verified,
        "moved_bytes": arrival.moved_bytes,
        "started_at": arrival.started_at,
        "ended_at": arrival.ended_at,
        "used_at": arrival.ended_at,
        "error": None,
    }
    changed: dict[str, Any] = {}
    if arrival.version is not None:  # what it is now is told of the runs; nobody else is to take it for what it was
        values |= {"version": f"{NO_VERSION}{clock.new_uuid()}", "told": arrival.told}
        changed["source"] = {"url": arrival.shown, "version": arrival.version, **arrival.told}
    if not transfers.write_copy(session, arrival.replica_id, arrival.fence, **values, **transfers.FREE):
        return None
    replication_figures.note_moved(session, arrival.replica_id, arrival.moved_bytes)
    is_other = _REPLICATION.c.sha256 != arrival.content.sha256
    refused = transfers.write_waiting(
        session, arrival.replica_id, is_other, state=NeedState.FAILED.value, error=_NOT_THE_SAME
    )
    _fill_occurrences(session, arrival.replica_id, arrival.content)
    first = {
        "started_at": arrival.started_at,
        "arrived_at": arrival.ended_at,
        "sha256": arrival.content.sha256,
        "verified": arrival.verified,
        "was_here": False,
        **changed,
    }
    transfers.write_waiting(session, arrival.replica_id, _REPLICATION.c.arrived_at.is_(None), **first)
    moved = _REPLICATION.c.moved_bytes + arrival.moved_bytes
    return refused | transfers.write_waiting(
        session, arrival.replica_id, state=NeedState.HERE.value, times=_REPLICATION.c.times + 1, moved_bytes=moved
    )


def arrive_all(session: Session, arrivals: Sequence[Arrival]) -> set[int]:
    """They are in the store, as far as their claims hold; the runs that need them."""
    runs: set[int] = set()
    if len(arrivals) <= _FEW:
        return runs.union(*(arrive(session, one) or () for one in arrivals))
    ordered = sorted(arrivals, key=lambda one: one.replica_id)
    for part in parts_of(ordered):
        runs |= _arrive_together(session, part)
    return runs


def fill_occurrences(session: Session, contents: Mapping[UUID, Content]) -> None:
    """Write what files turned out to be."""
    if contents:
        statement = (
            update(_OCCURRENCE)
            .where(_OCCURRENCE.c.uuid == bindparam("its_uuid"))
            .values(sha256=bindparam("sha256"), size_bytes=bindparam("size_bytes"))
        )
        rows = [
            {"its_uuid": uuid, "sha256": content.sha256, "size_bytes": content.size_bytes}
            for uuid, content in contents.items()
        ]
        session.connection().execute(statement, rows)


def _fill_occurrences(session: Session, replica_id: int, content: Content) -> None:
    query = select(_REPLICATION.c.occurrence).where(
        _REPLICATION.c.replica_id == replica_id, _REPLICATION.c.state == NeedState.WAITING.value
    )
    fill_occurrences(session, dict.fromkeys(session.execute(query).scalars(), content))


def _arrive_together(session: Session, arrivals: Sequence[Arrival]) -> set[int]:
    ids = [one.replica_id for one in arrivals]
    query = select(_REPLICA.c.id, _REPLICA.c.home, _REPLICA.c.fence, _REPLICA.c.state).where(_REPLICA.c.id.in_(ids))
    locked = {row.id: row for row in session.execute(query.order_by(_REPLICA.c.id).with_for_update())}
    is_moving = {row.id: row.fence for row in locked.values() if row.state == ReplicaState.MOVING.value}
    held = [one for one in arrivals if is_moving.get(one.replica_id) == one.fence]
    waiting: dict[int, list[Any]] = {one.replica_id: [] for one in held}
    for need in session.execute(
        select(_REPLICATION)
        .where(_REPLICATION.c.replica_id.in_(list(waiting)), _REPLICATION.c.state == NeedState.WAITING.value)
        .order_by(_REPLICATION.c.id)
        .with_for_update()
    ):
        waiting[need.replica_id].append(need)
    usual = [one for one in held if not _is_unlike(one, waiting[one.replica_id])]
    runs: set[int] = set()
    for one in held:
        if _is_unlike(one, waiting[one.replica_id]):
            runs |= arrive(session, one) or set()
    if usual:
        _write_copies(session, usual)
        moved = sum(one.moved_bytes for one in usual)
        replication_figures.note_moved(session, usual[0].replica_id, moved)  # all of one store
        runs |= _write_needs(session, [(one, need) for one in usual for need in waiting[one.replica_id]])
    return runs


def _is_unlike(arrival: Arrival, needs: Sequence[Any]) -> bool:
    """Whether another version came than was wanted, or other bytes than those that a run had of it before."""
    is_other = any(need.sha256 not in {None, arrival.content.sha256} for need in needs)
    return is_other or arrival.version is not None


def _write_copies(session: Session, arrivals: Sequence[Arrival]) -> None:
    always = {"state": ReplicaState.HERE.value, "error": None, **transfers.FREE}
    told = ("sha256", "size_bytes", "verified", "moved_bytes", "started_at", "ended_at")
    statement = (
        update(_REPLICA)
        .where(_REPLICA.c.id == bindparam("its_id"))
        .values(**always, used_at=bindparam("ended_at"), **{name: bindparam(name) for name in told})
    )
    rows = [
        {
            "its_id": one.replica_id,
            "sha256": one.content.sha256,
            "size_bytes": one.content.size_bytes,
            **{name: getattr(one, name) for name in told[2:]},
        }
        for one in arrivals
    ]
    session.connection().execute(statement, rows)


def _write_needs(session: Session, needed: Sequence[tuple[Arrival, Any]]) -> set[int]:
    """The files of the runs are known now, and their needs are met."""
    if not needed:
        return set()
    fill_occurrences(session, {need.occurrence: one.content for one, need in needed})
    statement = (
        update(_REPLICATION)
        .where(_REPLICATION.c.id == bindparam("its_id"))
        .values(
            state=NeedState.HERE.value,
            times=_REPLICATION.c.times + 1,
            moved_bytes=_REPLICATION.c.moved_bytes + bindparam("more_bytes"),
        )
    )
    counted = [{"its_id": need.id, "more_bytes": one.moved_bytes} for one, need in needed]
    session.connection().execute(statement, counted)
    told = ("sha256", "verified", "started_at", "arrived_at")
    statement = (
        update(_REPLICATION)
        .where(_REPLICATION.c.id == bindparam("its_id"))
        .values(was_here=False, **{name: bindparam(name) for name in told})
    )
    first = [
        {
            "its_id": need.id,
            "sha256": one.content.sha256,
            "verified": one.verified,
            "started_at": one.started_at,
            "arrived_at": one.ended_at,
        }
        for one, need in needed
        if need.arrived_at is None
    ]
    if first:
        session.connection().execute(statement, first)
    return {need.run_id for _, need in needed}
