"""Copies of what lies elsewhere: wanted by runs, claimed by whoever moves them, here, dropped when space is short.

A replica belongs to a group and a store. Who moves one holds a lease; what it writes names the fence of its claim and
is refused once somebody else has claimed it since, so that no two transfers ever bring the same file.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, true, update
from sqlmodel import Session

from stemma import clock
from stemma.database.prepared import Prepared
from stemma.database.queries import hints, replication_figures, storekeeping
from stemma.database.queries.insert import insert_missing, insert_rows
from stemma.database.queries.parts import parts_of
from stemma.database.tables import OccurrenceRow, ReplicaRow, ReplicationRow, RunRow, table_of
from stemma.database.tables.replication import VERSION_LENGTH
from stemma.records import Content, Json

_REPLICA, _REPLICATION, _RUN, _OCCURRENCE = (
    table_of(row) for row in (ReplicaRow, ReplicationRow, RunRow, OccurrenceRow)
)
_NOT_THE_SAME: Final = "it changed at its source after this run had read it, and was dropped here; run it again"
_NO_VERSION: Final = "?"
"""Begins the version of a source that tells none: it is never the same as another."""
LONG_AGO: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


_UNTOLD: Final = Prepared(
    select(_REPLICATION.c.id)
    .where(
        _REPLICATION.c.run_id == bindparam("run_id"),
        _REPLICATION.c.state.in_(bindparam("states", expanding=True)),
    )
    .limit(1)
)


_STATES: Final = Prepared(select(_REPLICATION.c.state).where(_REPLICATION.c.run_id == bindparam("run_id")).distinct())


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


_OPEN_STATES: Final = [ReplicaState.WANTED.value, ReplicaState.MOVING.value]
_NOT_TOLD: Final = [NeedState.HERE.value, NeedState.FAILED.value]


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
        """Tells its source from others. What must have a digest is another thing than what may have any."""
        return source_key(self.remote, self.expected, self.address)


def source_key(remote: UUID | None, expected: str | None, address: str) -> str:
    """See :attr:`Sought.key`."""
    return hashlib.sha256(f"{remote or ''}\n{expected or ''}\n{address}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Replica:
    """A copy, as who moves it or drops it needs to know it."""

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


def want(
    session: Session, home: str, group: str, run_id: int, sought: Sequence[Sought], *, has: Callable[[str], bool]
) -> dict[UUID, Content]:
    """Note what a run needs; returns what is here already, by occurrence. ``has`` says what the store holds."""
    now = clock.now()
    copies = _copies(session, home, group, sought, now, has=has)
    insert_rows(session, ReplicationRow, [_need(run_id, one, *copies[one.occurrence], now) for one in sought])
    return {uuid: Content(row.sha256, row.size_bytes) for uuid, (row, is_here) in copies.items() if is_here}


def want_ahead(
    session: Session, home: str, group: str, told_id: int, sought: Sequence[Sought], *, has: Callable[[str], bool]
) -> tuple[int, int]:
    """Note what a step needs that no run of this service has yet; how many are here already, and to come."""
    copies = _copies(session, home, group, sought, clock.now(), has=has)
    hints.wish(session, told_id, [row.id for row, _ in copies.values()])
    here = {row.id for row, is_here in copies.values() if is_here}
    return len(here), len({row.id for row, _ in copies.values()} - here)


def _copies(
    session: Session, home: str, group: str, sought: Sequence[Sought], now: datetime, *, has: Callable[[str], bool]
) -> dict[UUID, tuple[Any, bool]]:
    """The copy of each, by occurrence, and whether it is here; wanted from now on where it is not."""
    first: dict[str, UUID] = {}
    versions = {
        one.occurrence: one.version
        if 0 < len(one.version) <= VERSION_LENGTH  # a longer one would be cut, and told another from it no more
        else f"{_NO_VERSION}{first.setdefault(one.key, one.occurrence)}"  # the same at all places of one run
        for one in sought
    }
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
                evict(session, home, row.id)
        found[one.occurrence] = row, is_here
    _set(session, again, state=ReplicaState.WANTED.value, tries=0, not_before=now, error=None)
    _set(session, {row.id for row, is_here in found.values() if is_here}, used_at=now)
    return found


def hand_over(
    session: Session, home: str, group: str, run_id: int, sought: Sequence[Sought], *, has: Callable[[str], bool]
) -> list[Sought]:
    """Note which files of a run the engine's server reads where they lie; returns those that are to be wanted instead,
    since copies of them are here."""
    now = clock.now()
    versions = {
        one.occurrence: one.version if 0 < len(one.version) <= VERSION_LENGTH else f"{_NO_VERSION}{one.occurrence}"
        for one in sought
    }
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
    return {row.occurrence: _replica(row) for row in session.execute(query)}


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
                fill_occurrences(session, dict.fromkeys(uuids, Content(copy.sha256, copy.size_bytes)))
            elif copy.state not in _OPEN_STATES:
                _set(session, {copy.id}, state=ReplicaState.WANTED.value, tries=0, not_before=now, error=None)
            session.execute(update(_REPLICATION).where(which).values(**came))


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


def states(session: Session, run_id: int) -> set[NeedState]:
    """In which states the needs of a run are: asked at each look at a run that has not begun, so it costs little."""
    return {NeedState(row[0]) for row in _STATES.rows(session, run_id=run_id)}


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


def open_replicas(session: Session, home: str) -> list[Replica]:
    """What is to be moved, or moves, for runs that go on in this store, and ahead for those to come."""
    query = select(_REPLICA).where(_REPLICA.c.home == home, _REPLICA.c.state.in_(_OPEN_STATES), _is_needed())
    return [_replica(row) for row in session.execute(query)]


def abandon(session: Session, home: str) -> None:
    """What nobody needs any more is not wanted either."""
    is_idle = or_(
        _REPLICA.c.state == ReplicaState.WANTED.value,
        and_(_REPLICA.c.state == ReplicaState.MOVING.value, _REPLICA.c.lease_until <= clock.now()),
    )
    idle = (
        select(_REPLICA.c.id)
        .where(_REPLICA.c.home == home, is_idle, ~_is_needed())
        .order_by(_REPLICA.c.id)
        .with_for_update(skip_locked=True)
    )
    for part in parts_of(sorted(session.execute(idle).scalars())):  # looked at again now that nobody can want them
        unneeded = select(_REPLICA.c.id).where(_REPLICA.c.id.in_(part), ~_is_needed())
        _set(session, set(session.execute(unneeded).scalars()), state=ReplicaState.EVICTED.value, **_FREE)


def _is_needed() -> ColumnElement[bool]:
    """Whether a run that goes on waits for the copy, or somebody told of a step that will."""
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
    return or_(is_waited_for, hints.is_wished(clock.now()))


def has_open(session: Session, home: str) -> bool:
    """Whether anything is wanted or moves, for whomever; asked often, so it costs little."""
    return bool(_OPEN.rows(session, home=home, states=_OPEN_STATES))


def get(session: Session, replica_id: int) -> Replica:
    """One copy."""
    return _replica(session.execute(select(_REPLICA).where(_REPLICA.c.id == replica_id)).one())


def held(session: Session, home: str, *, all_of_them: bool = True) -> list[Replica]:
    """What is here: the copies that may be dropped; or those alone that runs which go on have."""
    query = select(_REPLICA).where(_REPLICA.c.home == home, _REPLICA.c.state == ReplicaState.HERE.value)
    if not all_of_them:
        active = select(_RUN.c.id).where(_RUN.c.active == true())
        query = query.where(
            _REPLICA.c.id.in_(select(_REPLICATION.c.replica_id).where(_REPLICATION.c.run_id.in_(active)))
        )
    return [_replica(row) for row in session.execute(query)]


def needs(session: Session, replica_ids: Collection[int]) -> list[Need]:
    """Who needs these copies: the runs that go on."""
    found: list[Need] = []
    for part in parts_of(sorted(replica_ids)):
        query = (
            select(_REPLICATION)
            .join(_RUN, _RUN.c.id == _REPLICATION.c.run_id)
            .where(_REPLICATION.c.replica_id.in_(part), _RUN.c.active == true())
            .where(_REPLICATION.c.state != NeedState.HANDED.value)
        )
        found += [_as_need(row) for row in session.execute(query)]
    return found


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
    return [_as_need(row) for row in session.execute(query)]


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


def waiting(session: Session, run_id: int) -> int:
    """How many files a run still needs from elsewhere."""
    query = select(_REPLICATION.c.id).where(
        _REPLICATION.c.run_id == run_id, _REPLICATION.c.state == NeedState.WAITING.value
    )
    return len(session.execute(query).all())


def claim(session: Session, home: str, wanted: Collection[int], owner: str, until: datetime) -> dict[int, int]:
    """Take the right to move these copies, where nobody moves them; the fence of each, by its number."""
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
    return {
        replica_id
        for replica_id, (fence, moved) in sorted(progress.items())
        if not _write(session, replica_id, fence, moved_bytes=moved, lease_until=until)
    }


def release(session: Session, fences: Mapping[int, int]) -> None:
    """Give back what was claimed; what has come of it may be gone on from."""
    for replica_id, fence in sorted(fences.items()):
        _write(session, replica_id, fence, state=ReplicaState.WANTED.value, **_FREE)


def put_off(session: Session, replica_id: int, fence: int, *, error: str, until: datetime, tries: int) -> None:
    """Try again later."""
    values = {"state": ReplicaState.WANTED.value, "error": error, "not_before": until, "tries": tries}
    _write(session, replica_id, fence, **values, **_FREE)


def fail(session: Session, replica_id: int, fence: int, error: str) -> set[int]:
    """It cannot be had; the runs that need it."""
    now = clock.now()
    if not _write(session, replica_id, fence, state=ReplicaState.FAILED.value, error=error, ended_at=now, **_FREE):
        return set()
    begun = select(_REPLICA.c.started_at).where(_REPLICA.c.id == replica_id).scalar_subquery()
    _tell(session, replica_id, _REPLICATION.c.arrived_at.is_(None), started_at=begun, arrived_at=now)
    return _tell(session, replica_id, state=NeedState.FAILED.value, error=error)


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
        values |= {"version": f"{_NO_VERSION}{clock.new_uuid()}", "told": arrival.told}
        changed["source"] = {"url": arrival.shown, "version": arrival.version, **arrival.told}
    if not _write(session, arrival.replica_id, arrival.fence, **values, **_FREE):
        return None
    replication_figures.note_moved(session, arrival.replica_id, arrival.moved_bytes)
    is_other = _REPLICATION.c.sha256 != arrival.content.sha256
    refused = _tell(session, arrival.replica_id, is_other, state=NeedState.FAILED.value, error=_NOT_THE_SAME)
    _fill_occurrences(session, arrival.replica_id, arrival.content)
    first = {
        "started_at": arrival.started_at,
        "arrived_at": arrival.ended_at,
        "sha256": arrival.content.sha256,
        "verified": arrival.verified,
        "was_here": False,
        **changed,
    }
    _tell(session, arrival.replica_id, _REPLICATION.c.arrived_at.is_(None), **first)
    moved = _REPLICATION.c.moved_bytes + arrival.moved_bytes
    return refused | _tell(
        session, arrival.replica_id, state=NeedState.HERE.value, times=_REPLICATION.c.times + 1, moved_bytes=moved
    )


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


def untell_copy(session: Session, replica_id: int) -> None:
    """Runs that were given a copy are to be given it anew, unless it is dropped."""
    active = [need.run_id for need in needs(session, [replica_id])]
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
    again = [need.occurrence for need in needs(session, [replica_id]) if need.state in has]
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
        _set(session, {replica_id}, state=ReplicaState.WANTED.value, not_before=clock.now())
    return True


def is_kept(session: Session, home: str, sha256: str, but: int) -> bool:
    """Whether bytes are needed for something else than this copy: another's copy, an upload, an output, a document."""
    return bool(storekeeping.kinds(session, home, [sha256], but=(but,)))


_FREE: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": LONG_AGO, "reserved_bytes": 0}


def _write(session: Session, replica_id: int, fence: int, **values: Any) -> bool:
    """Write columns under a claim; whether it still holds."""
    moving = and_(_REPLICA.c.id == replica_id, _REPLICA.c.fence == fence, _REPLICA.c.state == ReplicaState.MOVING.value)
    return bool(session.execute(update(_REPLICA).where(moving).values(**values)).rowcount)  # type: ignore[attr-defined]


def _tell(session: Session, replica_id: int, *which: ColumnElement[bool], **values: Any) -> set[int]:
    """Write columns of the needs of a copy that wait for it; whose they are."""
    is_waiting = and_(_REPLICATION.c.replica_id == replica_id, _REPLICATION.c.state == NeedState.WAITING.value, *which)
    runs = set(session.execute(select(_REPLICATION.c.run_id).where(is_waiting)).scalars())
    if runs:
        session.execute(update(_REPLICATION).where(is_waiting).values(**values))
    return runs


def _fill_occurrences(session: Session, replica_id: int, content: Content) -> None:
    query = select(_REPLICATION.c.occurrence).where(
        _REPLICATION.c.replica_id == replica_id, _REPLICATION.c.state == NeedState.WAITING.value
    )
    fill_occurrences(session, dict.fromkeys(session.execute(query).scalars(), content))


def _set(session: Session, replica_ids: Collection[int], **values: Any) -> None:
    for part in parts_of(sorted(replica_ids)):
        session.execute(update(_REPLICA).where(_REPLICA.c.id.in_(part)).values(**values))


def _replica(row: Any) -> Replica:
    return Replica(
        id=row.id,
        uuid=row.uuid,
        group=row.group_name,
        remote_id=row.remote_id,
        address=row.address,
        version="" if row.version.startswith(_NO_VERSION) else row.version,
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


def _as_need(row: Any) -> Need:
    content = None
    if row.sha256 is not None:
        content = Content(row.sha256, getattr(row, "size_bytes", 0) or 0)
    return Need(row.run_id, row.occurrence, row.replica_id, NeedState(row.state), content, row.error, row.times)
