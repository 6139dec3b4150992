"""What engines are told of their runs' files from elsewhere: what has arrived, or cannot be had."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlmodel import Session

from stemma.database.prepared import Prepared
from stemma.database.queries import replicas
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import Need, NeedState
from stemma.database.tables import ReplicaRow, ReplicationRow, table_of

_REPLICA, _REPLICATION = table_of(ReplicaRow), table_of(ReplicationRow)
_NOT_TOLD: Final = [NeedState.HERE.value, NeedState.FAILED.value]

_UNTOLD: Final = Prepared(
    select(_REPLICATION.c.id)
    .where(
        _REPLICATION.c.run_id == bindparam("run_id"),
        _REPLICATION.c.state.in_(bindparam("states", expanding=True)),
    )
    .limit(1)
)

_STATES: Final = Prepared(select(_REPLICATION.c.state).where(_REPLICATION.c.run_id == bindparam("run_id")).distinct())


def states(session: Session, run_id: int) -> set[NeedState]:
    """In which states the needs of a run are: asked at each look at a run that has not begun, so it costs little."""
    return {NeedState(row[0]) for row in _STATES.rows(session, run_id=run_id)}


def has_untold(session: Session, run_id: int) -> bool:
    """Whether anything has arrived for a run that its engine was not told; asked often, so it costs little."""
    return bool(_UNTOLD.rows(session, run_id=run_id, states=_NOT_TOLD))


def untold(session: Session, run_id: int) -> list[Need]:
    """What has arrived for a run, or cannot be had, and its engine was not told."""
    query = (
        select(_REPLICATION, _REPLICA.c.size_bytes)
        .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
        .where(_REPLICATION.c.run_id == run_id, _REPLICATION.c.state.in_(_NOT_TOLD))
        .order_by(_REPLICATION.c.id)
    )
    return [replicas.as_need(row) for row in session.execute(query)]


def told(session: Session, run_id: int, needs: Iterable[Need], *, for_good: bool = False) -> None:
    """The engine of a run knows of these; ``for_good``: its job has them from the beginning."""
    here = NeedState.GIVEN if for_good else NeedState.DELIVERED
    by_state = {NeedState.HERE: here, NeedState.FAILED: NeedState.REFUSED}
    for before, after in by_state.items():
        uuids = [need.occurrence for need in needs if need.state is before]
        for part in parts_of(uuids):
            session.execute(
                update(_REPLICATION)
                .where(
                    _REPLICATION.c.run_id == run_id,
                    _REPLICATION.c.occurrence.in_(part),
                    _REPLICATION.c.state == before.value,
                )
                .values(state=after.value)
            )


def untell(session: Session, run_id: int) -> None:
    """A new attempt at a run knows of nothing yet."""
    before_now = {
        NeedState.DELIVERED: NeedState.HERE,
        NeedState.GIVEN: NeedState.HERE,
        NeedState.REFUSED: NeedState.FAILED,
    }
    for before, after in before_now.items():
        session.execute(
            update(_REPLICATION)
            .where(_REPLICATION.c.run_id == run_id, _REPLICATION.c.state == before.value)
            .values(state=after.value)
        )


def untell_copy(session: Session, replica_id: int) -> None:
    """Runs that were given a copy are to be given it anew, unless it is dropped."""
    active = [need.run_id for need in replicas.needs(session, [replica_id])]
    if active:
        session.execute(
            update(_REPLICATION)
            .where(
                _REPLICATION.c.replica_id == replica_id,
                _REPLICATION.c.run_id.in_(active),
                _REPLICATION.c.state == NeedState.DELIVERED.value,
            )
            .values(state=NeedState.HERE.value)
        )
