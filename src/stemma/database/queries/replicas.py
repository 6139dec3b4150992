"""Copies of what lies elsewhere, and the needs that runs have of them: what is known of each, and how it is read."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, or_, select, true, update
from sqlmodel import Session

from stemma import clock
from stemma.database.prepared import Prepared
from stemma.database.queries import hints
from stemma.database.queries.parts import parts_of
from stemma.database.tables import ReplicaRow, ReplicationRow, RunRow, table_of
from stemma.records import Content, Json

_REPLICA, _REPLICATION, _RUN = (table_of(row) for row in (ReplicaRow, ReplicationRow, RunRow))
NO_VERSION: Final = "?"
"""Begins the version of a source that tells none: it is never the same as another."""
LONG_AGO: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")

_OPEN: Final = Prepared(
    select(_REPLICA.c.id)
    .where(_REPLICA.c.home == bindparam("home"), _REPLICA.c.state.in_(bindparam("states", expanding=True)))
    .limit(1)
)


class ReplicaState(StrEnum):
    """Where a copy is."""

    WANTED = "wanted"
    MOVING = "moving"
    HERE = "here"
    FAILED = "failed"
    EVICTED = "evicted"


class NeedState(StrEnum):
    """Where one run's need of a copy is."""

    WAITING = "waiting"
    HERE = "here"
    """In the store; the engine was not told yet."""
    DELIVERED = "delivered"
    GIVEN = "given"
    """Its job has it from the beginning, and cannot be asked to give it back."""
    FAILED = "failed"
    """It cannot be had; the engine was not told yet."""
    REFUSED = "refused"
    HANDED = "handed"
    """It is not brought here: the engine's server reads it where it lies."""


OPEN_STATES: Final = [ReplicaState.WANTED.value, ReplicaState.MOVING.value]


def source_key(remote: UUID | None, expected: str | None, address: str) -> str:
    """Tells a source from others. What must have a digest is another thing than what may have any."""
    return hashlib.sha256(f"{remote or ''}\n{expected or ''}\n{address}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Replica:
    """A copy, as who moves it or drops it needs to know it; it belongs to a group and a store."""

    id: int
    uuid: UUID
    group: str
    remote_id: int | None
    address: str
    """As it is written down."""
    version: str
    told: dict[str, Json]
    size_bytes: int | None
    expected: str | None
    sha256: str | None
    state: ReplicaState
    tries: int
    moved_bytes: int
    not_before: datetime
    used_at: datetime | None
    fence: int
    source_key: str = ""

    def is_of(self, remote: UUID) -> bool:
        """Whether it was wanted through this registered place: the number of one that is gone may be another's."""
        return self.source_key == source_key(remote, self.expected, self.address)


@dataclass(frozen=True, slots=True)
class Need:
    """That a run needs a copy."""

    run_id: int
    occurrence: UUID
    replica_id: int
    state: NeedState
    content: Content | None = None
    error: str | None = None
    times: int = 0
    """How often it was moved while the run went on."""


OF_ACTIVE_RUNS: Final = _REPLICA.c.id.in_(
    select(_REPLICATION.c.replica_id).where(_REPLICATION.c.run_id.in_(select(_RUN.c.id).where(_RUN.c.active == true())))
)
"""Copies that runs which go on have."""
GOES_ON: Final = and_(_RUN.c.active == true(), _REPLICATION.c.state != NeedState.HANDED.value)
"""Needs, joined with their runs, that somebody still has."""


def open_replicas(session: Session, home: str) -> list[Replica]:
    """What is to be moved, or moves, for runs that go on in this store, and ahead for those to come."""
    query = select(_REPLICA).where(_REPLICA.c.home == home, _REPLICA.c.state.in_(OPEN_STATES), is_needed())
    return [as_replica(row) for row in session.execute(query)]


def has_open(session: Session, home: str) -> bool:
    """Whether anything is wanted or moves, for whomever; asked often, so it costs little."""
    return bool(_OPEN.rows(session, home=home, states=OPEN_STATES))


def get(session: Session, replica_id: int) -> Replica:
    """One copy."""
    return as_replica(session.execute(select(_REPLICA).where(_REPLICA.c.id == replica_id)).one())


def held(session: Session, home: str, *, all_of_them: bool = True) -> list[Replica]:
    """What is here: the copies that may be dropped; or those alone that runs which go on have."""
    query = select(_REPLICA).where(_REPLICA.c.home == home, _REPLICA.c.state == ReplicaState.HERE.value)
    if not all_of_them:
        query = query.where(OF_ACTIVE_RUNS)
    return [as_replica(row) for row in session.execute(query)]


def needs(session: Session, replica_ids: Collection[int]) -> list[Need]:
    """Who needs these copies: the runs that go on."""
    found: list[Need] = []
    for part in parts_of(sorted(replica_ids)):
        query = (
            select(_REPLICATION)
            .join(_RUN, _RUN.c.id == _REPLICATION.c.run_id)
            .where(_REPLICATION.c.replica_id.in_(part), GOES_ON)
        )
        found += [as_need(row) for row in session.execute(query)]
    return found


def of_run(session: Session, run_id: int) -> list[Any]:
    """All that a run needed from elsewhere, each row with its copy's: for what is shown and recorded."""
    columns = [
        _REPLICA.c[name].label(f"replica_{name}")
        for name in ("state", "size_bytes", "moved_bytes", "started_at", "not_before", "tries", "error")
    ]
    query = (
        select(_REPLICATION, *columns)
        .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
        .where(_REPLICATION.c.run_id == run_id)
        .order_by(_REPLICATION.c.id)
    )
    return list(session.execute(query))


def addresses_with(session: Session, mark: str) -> list[tuple[int, str, str]]:
    """The number, the group and the address, as it is written down, of each copy that has ``mark`` in its address."""
    query = select(_REPLICA.c.id, _REPLICA.c.group_name, _REPLICA.c.address).where(
        _REPLICA.c.address.contains(mark, autoescape=True)
    )
    return [(row.id, row.group_name, row.address) for row in session.execute(query.order_by(_REPLICA.c.id))]


def write_address(session: Session, replica_id: int, before: str, address: str) -> bool:
    """Write the address of a copy down otherwise; False where it is another one by now."""
    is_it = and_(_REPLICA.c.id == replica_id, _REPLICA.c.address == before)
    return bool(session.execute(update(_REPLICA).where(is_it).values(address=address)).rowcount)  # type: ignore[attr-defined]


def is_needed(now: BindParameter[Any] | None = None) -> ColumnElement[bool]:
    """Whether a run that goes on waits for the copy, or somebody told of a step that will; ``now``, where the time is
    only known when it is asked."""
    is_waited_for = (
        select(_REPLICATION.c.replica_id)
        .join(_RUN, _RUN.c.id == _REPLICATION.c.run_id)
        .where(
            _REPLICATION.c.replica_id == _REPLICA.c.id,
            _REPLICATION.c.state == NeedState.WAITING.value,
            _RUN.c.active == true(),
        )
        .exists()
    )
    return or_(is_waited_for, hints.is_wished(clock.now() if now is None else now))


def write(session: Session, replica_ids: Collection[int], **values: Any) -> None:
    """Write columns of copies, whoever has claimed them."""
    for part in parts_of(sorted(replica_ids)):
        session.execute(update(_REPLICA).where(_REPLICA.c.id.in_(part)).values(**values))


def as_replica(row: Any) -> Replica:
    """What a row says of a copy."""
    return Replica(
        id=row.id,
        uuid=row.uuid,
        group=row.group_name,
        remote_id=row.remote_id,
        address=row.address,
        version="" if row.version.startswith(NO_VERSION) else row.version,
        told=row.told,
        size_bytes=row.size_bytes,
        expected=row.expected,
        sha256=row.sha256,
        state=ReplicaState(row.state),
        tries=row.tries,
        moved_bytes=row.moved_bytes,
        not_before=row.not_before,
        used_at=row.used_at,
        fence=row.fence,
        source_key=row.source_key,
    )


def as_need(row: Any) -> Need:
    """What a row says of a need; the size of what came where the row has it."""
    content = None
    if row.sha256 is not None:
        content = Content(row.sha256, getattr(row, "size_bytes", 0) or 0)
    return Need(row.run_id, row.occurrence, row.replica_id, NeedState(row.state), content, row.error, row.times)
