"""Copies that are dropped, when space is short, and those that nobody wants any more."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, or_, select, update
from sqlmodel import Session

from stemma import clock
from stemma.database.queries import replicas, storekeeping
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import NeedState, ReplicaState
from stemma.database.queries.transfers import FREE
from stemma.database.tables import ReplicaRow, ReplicationRow, table_of

_REPLICA, _REPLICATION = table_of(ReplicaRow), table_of(ReplicationRow)


def evict(session: Session, home: str, replica_id: int, but: Collection[UUID] = ()) -> bool:
    """Drop a copy, if it is here; runs that were not given it, or gave it back, wait for it anew. Not so the needs of
    the occurrences ``but``: their engines have copies of their own."""
    dropped = session.execute(
        update(_REPLICA)
        .where(_REPLICA.c.id == replica_id, _REPLICA.c.home == home, _REPLICA.c.state == ReplicaState.HERE.value)
        .values(state=ReplicaState.EVICTED.value)
    )
    if not dropped.rowcount:  # type: ignore[attr-defined]
        return False
    has = {NeedState.HERE, NeedState.DELIVERED}
    again = [need.occurrence for need in replicas.needs(session, [replica_id]) if need.state in has]
    kept = set(but).intersection(again)
    for part in parts_of(sorted(set(again) - kept)):
        session.execute(
            update(_REPLICATION).where(_REPLICATION.c.occurrence.in_(part)).values(state=NeedState.WAITING.value)
        )
    for part in parts_of(sorted(kept)):
        session.execute(
            update(_REPLICATION).where(_REPLICATION.c.occurrence.in_(part)).values(state=NeedState.DELIVERED.value)
        )
    if set(again) - kept:
        replicas.write(session, {replica_id}, state=ReplicaState.WANTED.value, not_before=clock.now())
    return True


def abandon(session: Session, home: str) -> None:
    """What nobody needs any more is not wanted either."""
    is_idle = or_(
        _REPLICA.c.state == ReplicaState.WANTED.value,
        and_(_REPLICA.c.state == ReplicaState.MOVING.value, _REPLICA.c.lease_until <= clock.now()),
    )
    idle = (
        select(_REPLICA.c.id)
        .where(_REPLICA.c.home == home, is_idle, ~replicas.is_needed())
        .order_by(_REPLICA.c.id)
        .with_for_update(skip_locked=True)
    )
    for part in parts_of(sorted(session.execute(idle).scalars())):  # looked at again now that nobody can want them
        unneeded = select(_REPLICA.c.id).where(_REPLICA.c.id.in_(part), ~replicas.is_needed())
        replicas.write(session, set(session.execute(unneeded).scalars()), state=ReplicaState.EVICTED.value, **FREE)


def latest_arrivals(session: Session, home: str, digests: Collection[str]) -> dict[str, datetime]:
    """When a copy with these bytes came last, here still or not: whoever brought it touched them."""
    latest: dict[str, datetime] = {}
    for part in parts_of(sorted(digests)):
        query = (
            select(_REPLICA.c.sha256, func.max(_REPLICA.c.ended_at))
            .where(_REPLICA.c.home == home, _REPLICA.c.sha256.in_(part), _REPLICA.c.ended_at.is_not(None))
            .group_by(_REPLICA.c.sha256)
        )
        latest |= {row[0]: row[1] for row in session.execute(query)}
    return latest


def is_kept(session: Session, home: str, sha256: str, but: int) -> bool:
    """Whether bytes are needed for something else than this copy: another's copy, an upload, an output, a document."""
    return bool(storekeeping.kinds(session, home, [sha256], but=(but,)))
