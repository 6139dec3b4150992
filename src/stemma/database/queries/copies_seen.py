"""Copies and needs as who replicates reads them: several times a second, thousands of them, few of them changed."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, select
from sqlmodel import Session

from stemma import clock
from stemma.database.prepared import Prepared
from stemma.database.queries.replicas import (
    GOES_ON,
    OF_ACTIVE_RUNS,
    OPEN_STATES,
    Need,
    Replica,
    ReplicaState,
    as_need,
    as_replica,
    is_needed,
)
from stemma.database.tables import ReplicaRow, ReplicationRow, RunRow, table_of

_REPLICA, _REPLICATION, _RUN = (table_of(row) for row in (ReplicaRow, ReplicationRow, RunRow))
_TOLD_OF_NEEDS: Final = ("id", "run_id", "occurrence", "replica_id", "state", "sha256", "error", "times")
_NOT_TOLD_OF_COPIES: Final = ("reserved_bytes", "started_at", "lease_owner", "lease_until", "verified", "error")
"""What a claim changes over and over, and nobody asks for here."""
_HERE: Final = _REPLICA.c.state == ReplicaState.HERE.value


def _copies(*which: ColumnElement[bool]) -> Prepared:
    columns = [column for column in _REPLICA.c if column.name not in _NOT_TOLD_OF_COPIES]  # the number comes first
    return Prepared(select(*columns).where(_REPLICA.c.home == bindparam("home"), *which).order_by(_REPLICA.c.id))


def _needs() -> Select[Any]:
    return (
        select(*(_REPLICATION.c[name] for name in _TOLD_OF_NEEDS))
        .join(_RUN, _RUN.c.id == _REPLICATION.c.run_id)
        .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
        .where(GOES_ON, _REPLICA.c.home == bindparam("home"))
        .order_by(_REPLICATION.c.id)
    )


_WANTED: Final = _copies(
    _REPLICA.c.state.in_(bindparam("states", expanding=True)),
    is_needed(bindparam("now", type_=_REPLICA.c.used_at.type)),
)
_HELD: Final = _copies(_HERE)
_HELD_BY_RUNS: Final = _copies(_HERE, OF_ACTIVE_RUNS)
_NEEDS: Final = Prepared(_needs())


class CopiesSeen:
    """Reads them; what is as it was the last time is not made anew."""

    def __init__(self) -> None:
        self._wanted: dict[int, tuple[Sequence[Any], Replica]] = {}
        self._held: dict[int, tuple[Sequence[Any], Replica]] = {}
        self._needs: dict[int, tuple[Sequence[Any], Need]] = {}

    def wanted(self, session: Session, home: str) -> list[Replica]:
        """See :func:`~stemma.database.queries.replicas.open_replicas`."""
        return _WANTED.rows_again(session, self._wanted, as_replica, home=home, states=OPEN_STATES, now=clock.now())

    def held(self, session: Session, home: str, *, all_of_them: bool) -> list[Replica]:
        """See :func:`~stemma.database.queries.replicas.held`."""
        query = _HELD if all_of_them else _HELD_BY_RUNS
        return query.rows_again(session, self._held, as_replica, home=home)

    def needs(self, session: Session, home: str, replica_ids: Collection[int]) -> list[Need]:
        """Who needs these copies of this store: the runs that go on."""
        found = _NEEDS.rows_again(session, self._needs, as_need, home=home)
        return [need for need in found if need.replica_id in replica_ids]

    def forget(self) -> None:
        """Nothing is wanted, so nothing is read again soon."""
        self._wanted.clear()
        self._held.clear()
        self._needs.clear()
