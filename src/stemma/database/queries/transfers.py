"""What whoever moves copies writes of them, as long as its claim holds."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, update
from sqlmodel import Session

from stemma import clock
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import LONG_AGO, NeedState, ReplicaState
from stemma.database.tables import ReplicaRow, ReplicationRow, table_of

_REPLICA, _REPLICATION = table_of(ReplicaRow), table_of(ReplicationRow)
FREE: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": LONG_AGO, "reserved_bytes": 0}
"""What the columns of a claim are where nobody holds one."""


def claim(session: Session, home: str, wanted: Collection[int], owner: str, until: datetime) -> dict[int, int]:
    """Take the right to move these copies, where nobody moves them; the fence of each, by its number.

    Who moves one holds a lease; what it writes names the fence of its claim and is refused once somebody else has
    claimed it since, so that no two transfers ever bring the same file.
    """
    now = clock.now()
    claimed: dict[int, int] = {}
    free = or_(
        and_(_REPLICA.c.state == ReplicaState.WANTED.value, _REPLICA.c.not_before <= now),
        and_(_REPLICA.c.state == ReplicaState.MOVING.value, _REPLICA.c.lease_until <= now),
    )
    for part in parts_of(sorted(wanted)):
        query = (
            select(_REPLICA.c.id, _REPLICA.c.fence)
            .where(_REPLICA.c.home == home, _REPLICA.c.id.in_(part), free)
            .order_by(_REPLICA.c.id)
            .with_for_update(skip_locked=True)
        )
        rows = session.execute(query).all()
        if not rows:
            continue
        statement = (
            update(_REPLICA)
            .where(_REPLICA.c.id == bindparam("its_id"))
            .values(
                state=ReplicaState.MOVING.value,
                fence=_REPLICA.c.fence + 1,
                lease_owner=owner,
                lease_until=until,
                started_at=now,
                ended_at=None,
                moved_bytes=0,
                reserved_bytes=func.coalesce(_REPLICA.c.size_bytes, 0),
                error=None,
            )
        )
        session.connection().execute(statement, [{"its_id": row.id} for row in rows])
        claimed |= {row.id: row.fence + 1 for row in rows}
    return claimed


def renew(session: Session, progress: Mapping[int, tuple[int, int]], until: datetime) -> set[int]:
    """Extend the leases of what moves, with the bytes that have come: by its number, the fence and the bytes. Returns
    those that are lost."""
    lost: set[int] = set()
    for part in parts_of(sorted(progress)):
        query = select(_REPLICA.c.id, _REPLICA.c.fence, _REPLICA.c.moved_bytes).where(
            _REPLICA.c.id.in_(part), _REPLICA.c.state == ReplicaState.MOVING.value
        )
        locked = session.execute(query.order_by(_REPLICA.c.id).with_for_update()).all()
        held = {row.id: row.moved_bytes for row in locked if row.fence == progress[row.id][0]}
        lost |= set(part) - held.keys()
        if not held:
            continue
        session.execute(update(_REPLICA).where(_REPLICA.c.id.in_(list(held))).values(lease_until=until))
        moved = [{"its_id": one, "its_bytes": progress[one][1]} for one in held if held[one] != progress[one][1]]
        if moved:  # of thousands that are claimed, few are on their way
            statement = update(_REPLICA).where(_REPLICA.c.id == bindparam("its_id"))
            session.connection().execute(statement.values(moved_bytes=bindparam("its_bytes")), moved)
    return lost


def release(session: Session, fences: Mapping[int, int]) -> None:
    """Give back what was claimed; what has come of it may be gone on from."""
    for replica_id, fence in sorted(fences.items()):
        write_copy(session, replica_id, fence, state=ReplicaState.WANTED.value, **FREE)


def put_off(session: Session, replica_id: int, fence: int, *, error: str, until: datetime, tries: int) -> None:
    """Try again later."""
    values = {"state": ReplicaState.WANTED.value, "error": error, "not_before": until, "tries": tries}
    write_copy(session, replica_id, fence, **values, **FREE)


def fail(session: Session, replica_id: int, fence: int, error: str) -> set[int]:
    """It cannot be had; the runs that need it."""
    now = clock.now()
    if not write_copy(session, replica_id, fence, state=ReplicaState.FAILED.value, error=error, ended_at=now, **FREE):
        return set()
    begun = select(_REPLICA.c.started_at).where(_REPLICA.c.id == replica_id).scalar_subquery()
    write_waiting(session, replica_id, _REPLICATION.c.arrived_at.is_(None), started_at=begun, arrived_at=now)
    return write_waiting(session, replica_id, state=NeedState.FAILED.value, error=error)


def write_copy(session: Session, replica_id: int, fence: int, **values: Any) -> bool:
    """Write columns of a copy under a claim; whether it still holds."""
    moving = and_(_REPLICA.c.id == replica_id, _REPLICA.c.fence == fence, _REPLICA.c.state == ReplicaState.MOVING.value)
    return bool(session.execute(update(_REPLICA).where(moving).values(**values)).rowcount)  # type: ignore[attr-defined]


def write_waiting(session: Session, replica_id: int, *which: ColumnElement[bool], **values: Any) -> set[int]:
    """Write columns of the needs of a copy that wait for it; whose they are."""
    is_waiting = and_(_REPLICATION.c.replica_id == replica_id, _REPLICATION.c.state == NeedState.WAITING.value, *which)
    runs = set(session.execute(select(_REPLICATION.c.run_id).where(is_waiting)).scalars())
    if runs:
        session.execute(update(_REPLICATION).where(is_waiting).values(**values))
    return runs
