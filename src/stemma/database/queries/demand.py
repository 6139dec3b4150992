"""Which copies are wanted, by runs and ahead of them, and which files of runs are handed over where they lie."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, select, update
from sqlmodel import Session

from stemma import clock
from stemma.database.queries import arrivals, eviction, hints, replicas
from stemma.database.queries.insert import insert_missing, insert_rows
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import LONG_AGO, NO_VERSION, NeedState, Replica, ReplicaState
from stemma.database.tables import ReplicaRow, ReplicationRow, table_of
from stemma.database.tables.replication import VERSION_LENGTH
from stemma.records import Content, Json

_REPLICA, _REPLICATION = table_of(ReplicaRow), table_of(ReplicationRow)


@dataclass(frozen=True, slots=True)
class Sought:
    """A file elsewhere that a run needs, as its source was seen when the run was submitted."""

    occurrence: UUID
    address: str
    version: str
    """Empty where the source tells none."""
    told: dict[str, Json]
    size_bytes: int | None
    remote_id: int | None = None
    remote: UUID | None = None
    """The registered place, where it is reached through one."""
    expected: str | None = None
    """The SHA-256 that it must have, or the SHA-1 (40 digits)."""

    source: dict[str, Json] = field(default_factory=dict)
    """The address and what was told, as it is recorded."""
    kept: str = ""
    """The address as it is written down, where it is not to be read in the database."""
    by_url: bool = False
    """Whether the engine's server is to read it where it lies, unless it is here."""

    @property
    def key(self) -> str:
        """Tells its source from others: see :func:`stemma.database.queries.replicas.source_key`."""
        return replicas.source_key(self.remote, self.expected, self.address)


def want(
    session: Session, home: str, group: str, run_id: int, sought: Sequence[Sought], *, has: Callable[[str], bool]
) -> dict[UUID, Content]:
    """Note what a run needs; returns what is here already, by occurrence. ``has`` says what the store holds."""
    now = clock.now()
    copies = _copies(session, home, group, sought, now, has=has)
    insert_rows(session, ReplicationRow, [_need(run_id, one, *copies[one.occurrence], now) for one in sought])
    return {uuid: Content(row.sha256, row.size_bytes) for uuid, (row, is_here) in copies.items() if is_here}


def want_ahead(
    session: Session,
    home: str,
    group: str,
    told_id: int,
    sought: Sequence[Sought],
    *,
    by: str,
    has: Callable[[str], bool],
) -> tuple[int, int]:
    """Note what a step needs that no run of this service has yet, as ``by`` told; how many are here already, and to
    come."""
    copies = _copies(session, home, group, sought, clock.now(), has=has)
    hints.wish(session, told_id, [row.id for row, _ in copies.values()], by)
    here = {row.id for row, is_here in copies.values() if is_here}
    return len(here), len({row.id for row, _ in copies.values()} - here)


def hand_over(
    session: Session, home: str, group: str, run_id: int, sought: Sequence[Sought], *, has: Callable[[str], bool]
) -> list[Sought]:
    """Note which files of a run the engine's server reads where they lie; returns those that are to be wanted instead,
    since copies of them are here."""
    now, versions = clock.now(), _versions(sought)
    new = [_new(home, group, one, versions[one.occurrence], now) for one in sought]
    insert_missing(session, ReplicaRow, [row | {"state": ReplicaState.EVICTED.value} for row in new])
    rows = _rows_of(session, home, group, {one.key for one in sought})
    places = {one.occurrence: rows[one.key, versions[one.occurrence]] for one in sought}
    here = {uuid for uuid, row in places.items() if row.state == ReplicaState.HERE and has(row.sha256)}
    left = [one for one in sought if one.occurrence not in here]
    needs = [_need(run_id, one, places[one.occurrence], is_here=False, now=now) for one in left]
    insert_rows(session, ReplicationRow, [row | {"state": NeedState.HANDED.value, "was_here": None} for row in needs])
    return [one for one in sought if one.occurrence in here]


def handed(session: Session, run_id: int) -> dict[UUID, Replica]:
    """The files of a run that its engine's server reads where they lie, by occurrence."""
    query = (
        select(_REPLICATION.c.occurrence, *_REPLICA.c)
        .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
        .where(_REPLICATION.c.run_id == run_id, _REPLICATION.c.state == NeedState.HANDED.value)
    )
    return {row.occurrence: replicas.as_replica(row) for row in session.execute(query)}


def take_back(session: Session, run_id: int) -> None:
    """What a run's engine was to hand over is wanted here after all."""
    now, is_handed = clock.now(), _REPLICATION.c.state == NeedState.HANDED.value
    copies = select(_REPLICATION.c.replica_id).where(_REPLICATION.c.run_id == run_id, is_handed)
    for part in parts_of(sorted(set(session.execute(copies).scalars()))):
        locked = select(_REPLICA).where(_REPLICA.c.id.in_(part)).order_by(_REPLICA.c.id).with_for_update()
        for copy in session.execute(locked).all():
            which = and_(_REPLICATION.c.run_id == run_id, _REPLICATION.c.replica_id == copy.id, is_handed)
            came: dict[str, Any] = {"state": NeedState.WAITING.value, "was_here": False}
            if copy.state == ReplicaState.HERE:  # another run has had it fetched since
                came = {"state": NeedState.HERE.value, "was_here": True, "arrived_at": now}
                came |= {"sha256": copy.sha256, "verified": copy.verified}
                uuids = session.execute(select(_REPLICATION.c.occurrence).where(which)).scalars().all()
                arrivals.fill_occurrences(session, dict.fromkeys(uuids, Content(copy.sha256, copy.size_bytes)))
            elif copy.state not in replicas.OPEN_STATES:
                replicas.write(session, {copy.id}, state=ReplicaState.WANTED.value, tries=0, not_before=now, error=None)
            session.execute(update(_REPLICATION).where(which).values(**came))


def _copies(
    session: Session, home: str, group: str, sought: Sequence[Sought], now: datetime, *, has: Callable[[str], bool]
) -> dict[UUID, tuple[Any, bool]]:
    """The copy of each, by occurrence, and whether it is here; wanted from now on where it is not."""
    versions = _versions(sought)
    insert_missing(session, ReplicaRow, [_new(home, group, one, versions[one.occurrence], now) for one in sought])
    rows = _rows_of(session, home, group, {one.key for one in sought})
    found: dict[UUID, tuple[Any, bool]] = {}
    again: set[int] = set()
    for one in sought:
        row = rows[one.key, versions[one.occurrence]]
        is_here = row.state == ReplicaState.HERE and has(row.sha256)
        if not is_here and row.state in {ReplicaState.HERE, ReplicaState.FAILED, ReplicaState.EVICTED}:
            again.add(row.id)
            if row.state == ReplicaState.HERE:  # somebody took it out of the store by hand: others wait anew as well
                eviction.evict(session, home, row.id)
        found[one.occurrence] = row, is_here
    replicas.write(session, again, state=ReplicaState.WANTED.value, tries=0, not_before=now, error=None)
    replicas.write(session, {row.id for row, is_here in found.values() if is_here}, used_at=now)
    return found


def _versions(sought: Sequence[Sought]) -> dict[UUID, str]:
    """Under which version the copy of each is kept, by occurrence."""
    first: dict[str, UUID] = {}
    return {
        one.occurrence: one.version
        if 0 < len(one.version) <= VERSION_LENGTH  # a longer one would be cut, and told another from it no more
        else f"{NO_VERSION}{first.setdefault(one.key, one.occurrence)}"  # the same at all places of one run
        for one in sought
    }


def _new(home: str, group: str, sought: Sought, version: str, now: datetime) -> dict[str, Any]:
    return {
        "uuid": clock.new_uuid(),
        "home": home,
        "group_name": group,
        "remote_id": sought.remote_id,
        "address": sought.kept or sought.address,
        "source_key": sought.key,
        "version": version,
        "told": sought.told,
        "size_bytes": sought.size_bytes,
        "expected": sought.expected,
        "state": ReplicaState.WANTED.value,
        "moved_bytes": 0,
        "reserved_bytes": 0,
        "tries": 0,
        "not_before": now,
        "lease_until": LONG_AGO,
        "fence": 0,
    }


def _need(run_id: int, sought: Sought, row: Any, is_here: bool, now: datetime) -> dict[str, Any]:
    return {
        "uuid": clock.new_uuid(),
        "run_id": run_id,
        "occurrence": sought.occurrence,
        "replica_id": row.id,
        "state": (NeedState.HERE if is_here else NeedState.WAITING).value,
        "requested_at": now,
        "arrived_at": now if is_here else None,
        "was_here": is_here,
        "times": 0,
        "moved_bytes": 0,
        "sha256": row.sha256 if is_here else None,
        "verified": row.verified if is_here else None,
        "source": {**sought.source, "version": sought.version},
        "error": None,
    }


def _rows_of(session: Session, home: str, group: str, keys: Collection[str]) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for part in parts_of(sorted(keys)):
        query = select(_REPLICA).where(
            _REPLICA.c.home == home, _REPLICA.c.group_name == group, _REPLICA.c.source_key.in_(part)
        )
        numbers = [row.id for row in session.execute(query)]
        # Locked by number: whoever writes of its arrival meanwhile comes before, or sees what is noted here.
        locked = select(_REPLICA).where(_REPLICA.c.id.in_(numbers)).order_by(_REPLICA.c.id).with_for_update()
        found |= {(row.source_key, row.version): row for row in session.execute(locked)}
    return found
