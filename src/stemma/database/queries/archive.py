"""Which contents lie in the archive, and which of them the store may let go because of that."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, true
from sqlmodel import Session

from stemma import clock
from stemma.database.queries import storekeeping
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import ReplicaState
from stemma.database.queries.storekeeping import ARCHIVED_ADDRESS, Kind
from stemma.database.tables import (
    ArchivedRow,
    OccurrenceRow,
    ReplicaRow,
    ReplicationRow,
    RunOutputRow,
    RunRow,
    table_of,
)
from stemma.errors import ContentMissing
from stemma.records import Content

_ARCHIVED, _OCCURRENCE, _OUTPUT, _RUN, _REPLICA, _REPLICATION = (
    table_of(row) for row in (ArchivedRow, OccurrenceRow, RunOutputRow, RunRow, ReplicaRow, ReplicationRow)
)
_PAGE: Final = 1000


class ArchiveState(StrEnum):
    """Where a content is."""

    WANTED = "wanted"
    COPYING = "copying"
    ARCHIVED = "archived"
    REMOVING = "removing"
    """From the archive, since nothing refers to it any more."""


@dataclass(frozen=True, slots=True)
class Route:
    """From the store of which data folder to which archive."""

    home: str
    archive: str


@dataclass(frozen=True, slots=True)
class Archived:
    """How much lies in an archive, and what is still to be copied."""

    files: int = 0
    size_bytes: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    troubled: int = 0
    """Of the waiting ones, those that could not be copied so far."""
    error: str | None = None
    """Why not, of one of them."""


def address_of(sha256: str) -> str:
    """What stands for the archived copy of a content among addresses."""
    return f"{ARCHIVED_ADDRESS}{sha256}"


def digest_in(address: str) -> str:
    """The content that an address of :func:`address_of` stands for."""
    return address.removeprefix(ARCHIVED_ADDRESS)


def is_archived(session: Session, sha256: str) -> bool:
    """Whether a content lies in the archive. That of another place counts too: archives are moved."""
    return sha256 in archived_of(session, [sha256])


def archived_of(session: Session, digests: Sequence[str], archive: str | None = None) -> dict[str, int]:
    """Those of ``digests`` that lie in the archive, this one or any, with their sizes."""
    found: dict[str, int] = {}
    for part in parts_of(digests):
        query = select(_ARCHIVED.c.sha256, _ARCHIVED.c.size_bytes).where(
            _ARCHIVED.c.sha256.in_(part), _ARCHIVED.c.state == ArchiveState.ARCHIVED.value
        )
        if archive is not None:
            query = query.where(_ARCHIVED.c.archive == archive)
        found |= {row.sha256: row.size_bytes for row in session.execute(query)}
    return found


def archived_after(session: Session, archive: str, after: str) -> list[Content]:
    """A page of what lies in an archive, by digest."""
    query = (
        select(_ARCHIVED.c.sha256, _ARCHIVED.c.size_bytes)
        .where(
            _ARCHIVED.c.archive == archive,
            _ARCHIVED.c.state == ArchiveState.ARCHIVED.value,
            _ARCHIVED.c.sha256 > after,
        )
        .order_by(_ARCHIVED.c.sha256)
        .limit(_PAGE)
    )
    return [Content(*row) for row in session.execute(query)]


def content_of(session: Session, sha256: str) -> Content:
    """An archived content.

    Raises:
        ContentMissing: it lies in no archive.
    """
    found = archived_of(session, [sha256])
    if sha256 not in found:
        raise ContentMissing(sha256)
    return Content(sha256, found[sha256])


def has_any(session: Session, archive: str) -> bool:
    """Whether anything was ever copied to an archive."""
    query = select(_ARCHIVED.c.sha256).where(
        _ARCHIVED.c.archive == archive, _ARCHIVED.c.state == ArchiveState.ARCHIVED.value
    )
    return session.execute(query.limit(1)).first() is not None


def droppable(session: Session, route: Route, digests: Sequence[str], *, but: Collection[int] = ()) -> set[str]:
    """Those of ``digests`` that the store may let go because they lie in the archive: outputs and uploads that are
    nothing else, and that no run which goes on reads from the store. The copies ``but`` do not count."""
    found: set[str] = set()
    for part in parts_of(digests):
        candidates = sorted(archived_of(session, part, route.archive))
        kinds = storekeeping.kinds(session, route.home, candidates, but=but)
        candidates = [digest for digest in candidates if kinds.get(digest) in {Kind.OUTPUT, Kind.UPLOAD}]
        copied = select(_REPLICA.c.sha256, _REPLICA.c.id).where(
            _REPLICA.c.home == route.home,
            _REPLICA.c.sha256.in_(candidates),
            _REPLICA.c.state == ReplicaState.HERE.value,
        )
        held = {digest for digest, replica_id in session.execute(copied) if replica_id not in but}
        found |= set(candidates) - held - set(session.execute(_in_use(candidates)).scalars())
    return found


def _in_use(digests: Sequence[str]) -> Select[Any]:
    """Inputs of runs that go on, which were given to them in the store. What came late is given and taken back."""
    came_late = select(_REPLICATION.c.id).where(_REPLICATION.c.occurrence == _OCCURRENCE.c.uuid).exists()
    return (
        select(_OCCURRENCE.c.sha256)
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(_OCCURRENCE.c.sha256.in_(digests), _RUN.c.active == true(), _OCCURRENCE.c.step.is_(None), ~came_late)
        .distinct()
    )


def old_after(session: Session, archive: str, after: str, before: datetime) -> list[str]:
    """A page of what was noted before that time: what lies in an archive, or was to lie there."""
    query = (
        select(_ARCHIVED.c.sha256)
        .where(_ARCHIVED.c.archive == archive, _ARCHIVED.c.sha256 > after, is_old(before))
        .order_by(_ARCHIVED.c.sha256)
        .limit(_PAGE)
    )
    return list(session.execute(query).scalars())


def is_old(before: datetime) -> ColumnElement[bool]:
    """Whether it came before that time, and nobody is at work on it."""
    return and_(
        _ARCHIVED.c.noted_at < before,
        or_(_ARCHIVED.c.archived_at.is_(None), _ARCHIVED.c.archived_at < before),
        _ARCHIVED.c.lease_until <= clock.now(),
    )


def unused(session: Session, home: str, digests: Sequence[str], deleted_since: datetime) -> list[str]:
    """Those of ``digests`` that no run, workflow or record refers to. Copies of what lies elsewhere need no archive."""
    kinds = storekeeping.kinds(session, home, digests, deleted_since=deleted_since)
    return [digest for digest in digests if kinds.get(digest, Kind.REPLICA) is Kind.REPLICA]


def sizes_of(session: Session, archive: str, digests: Sequence[str]) -> list[int]:
    """How long those are that lie in an archive, or are being removed from it."""
    there = [ArchiveState.ARCHIVED.value, ArchiveState.REMOVING.value]
    sizes: list[int] = []
    for part in parts_of(digests):
        query = select(_ARCHIVED.c.size_bytes).where(
            _ARCHIVED.c.archive == archive, _ARCHIVED.c.sha256.in_(part), _ARCHIVED.c.state.in_(there)
        )
        sizes += session.execute(query).scalars()
    return sizes


def amount(session: Session, archive: str) -> Archived:
    """How much lies in an archive, and what is to be copied."""
    is_there = _ARCHIVED.c.state == ArchiveState.ARCHIVED.value
    is_waiting = _ARCHIVED.c.state.in_([ArchiveState.WANTED.value, ArchiveState.COPYING.value])
    is_troubled = and_(is_waiting, _ARCHIVED.c.error.is_not(None))
    columns = [
        func.coalesce(func.sum(case((condition, value), else_=0)), 0)
        for condition in (is_there, is_waiting)
        for value in (1, _ARCHIVED.c.size_bytes)
    ]
    troubled = func.coalesce(func.sum(case((is_troubled, 1), else_=0)), 0)
    row = session.execute(select(*columns, troubled).where(_ARCHIVED.c.archive == archive)).one()
    error = None
    if row[4]:
        query = select(_ARCHIVED.c.error).where(_ARCHIVED.c.archive == archive, is_troubled)
        error = session.execute(query.order_by(_ARCHIVED.c.not_before.desc()).limit(1)).scalar()
    counted = [int(value) for value in row]
    return Archived(counted[0], counted[1], counted[2], counted[3], counted[4], error)
