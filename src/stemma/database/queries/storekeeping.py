"""What refers to contents of a store: documents, outputs, uploads, copies of what lies elsewhere; and whose they are.

A content that nothing here refers to may go. A late input refers to nothing by itself: its copy does for as long as it
is here, unless the run has it among its outputs.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, and_, case, false, func, or_, select, true, union_all
from sqlmodel import Session

from stemma.database.queries.replicas import ReplicaState
from stemma.database.tables import (
    CaptureRow,
    OccurrenceRow,
    ReplicaRow,
    ReplicationRow,
    RevisionFileRow,
    RevisionRow,
    RunOutputRow,
    RunRow,
    WorkflowRow,
    table_of,
)

_REPLICA, _REPLICATION, _RUN, _OCCURRENCE, _OUTPUT = (
    table_of(row) for row in (ReplicaRow, ReplicationRow, RunRow, OccurrenceRow, RunOutputRow)
)
_REVISION, _REVISION_FILE, _CAPTURE, _WORKFLOW = (
    table_of(row) for row in (RevisionRow, RevisionFileRow, CaptureRow, WorkflowRow)
)
AT_A_TIME: Final = 500
"""How many contents one look is about."""
_PAGE: Final = 2000
_HERE: Final = ReplicaState.HERE.value


class Kind(StrEnum):
    """What a content is to this service. The first that holds says how long it stays."""

    DOCUMENT = "documents"
    """Part of a registered workflow, or a captured record: stays for good."""
    OUTPUT = "outputs"
    """Of a run: stays until that is deleted."""
    UPLOAD = "uploads"
    """An input of a run, sent or fetched when it was submitted: stays until that is deleted."""
    REPLICA = "replicas"
    """A copy of what lies elsewhere: may be dropped, and fetched again."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A run, a workflow or a copy that a content belongs to."""

    kind: Kind
    thing: Literal["run", "workflow", "replica"]
    id: int
    group: str
    what: str
    """A basename, the name of a workflow, or an address."""


@dataclass(frozen=True, slots=True)
class Held:
    """A copy that is here, and that no run which goes on needs."""

    id: int
    sha256: str
    size_bytes: int
    address: str
    group: str
    used_at: datetime | None


_IS_OUTPUT: Final = select(_OUTPUT.c.id).where(_OUTPUT.c.occurrence == _OCCURRENCE.c.uuid).exists()
ARCHIVED_ADDRESS: Final = "archive:"
"""Begins the address of a copy that comes from the archive of this service."""
IS_LATE: Final = (
    select(_REPLICATION.c.id)
    .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
    .where(_REPLICATION.c.occurrence == _OCCURRENCE.c.uuid, _REPLICA.c.address.not_like(f"{ARCHIVED_ADDRESS}%"))
    .correlate(_OCCURRENCE)
    .exists()
)
"""Of an occurrence: it is a copy of what lies elsewhere. What comes back from the archive is an upload or an output."""
_IS_NEEDED: Final = (
    select(_REPLICATION.c.id)
    .join(_RUN, _RUN.c.id == _REPLICATION.c.run_id)
    .where(_REPLICATION.c.replica_id == _REPLICA.c.id, _RUN.c.active == true())
    .exists()
)


def kinds(
    session: Session,
    home: str,
    digests: Sequence[str],
    *,
    but: Collection[int] = (),
    deleted_since: datetime | None = None,
) -> dict[str, Kind]:
    """What each of ``digests`` is; those that nothing refers to are left out.

    Runs that were deleted after ``deleted_since`` still count. The copies ``but`` do not.
    """
    found: dict[str, Kind] = {}
    for start in range(0, len(digests), AT_A_TIME):
        part = digests[start : start + AT_A_TIME]
        held = _REPLICA.c.state == _HERE, _REPLICA.c.home == home, _REPLICA.c.sha256.in_(part)
        for replica_id, digest in session.execute(select(_REPLICA.c.id, _REPLICA.c.sha256).where(*held)):
            if replica_id not in but:
                found[digest] = Kind.REPLICA
        for digest, is_output in session.execute(_in_runs(part, deleted_since)):
            found[digest] = Kind.OUTPUT if is_output else Kind.UPLOAD
        found |= dict.fromkeys(session.execute(_documents(part)).scalars(), Kind.DOCUMENT)
    return found


def _in_runs(digests: Sequence[str], deleted_since: datetime | None) -> Select[Any]:
    """Of those that runs refer to: the digest, and whether one is an output or a step's."""
    is_made = or_(_IS_OUTPUT, _OCCURRENCE.c.step.is_not(None))
    return (
        select(_OCCURRENCE.c.sha256, func.max(case((is_made, 1), else_=0)))
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(_OCCURRENCE.c.sha256.in_(digests), _is_there(deleted_since), or_(_IS_OUTPUT, ~IS_LATE))
        .group_by(_OCCURRENCE.c.sha256)
    )


def _is_there(deleted_since: datetime | None) -> ColumnElement[bool]:
    recently = _RUN.c.deleted_at >= deleted_since if deleted_since is not None else false()
    return or_(_RUN.c.deleted_at.is_(None), recently)


_DOCUMENTS: Final = (_REVISION.c.spec_sha256, _REVISION.c.inputs_sha256, _REVISION_FILE.c.sha256, _CAPTURE.c.sha256)


def _documents(digests: Sequence[str]) -> Select[Any]:
    """Which of ``digests`` belong to registered workflows or captured records."""
    parts = union_all(*(select(column.label("sha256")).where(column.in_(digests)) for column in _DOCUMENTS)).subquery()
    return select(parts.c.sha256).distinct()


def expected(session: Session, home: str) -> Iterator[str]:
    """The digests of all that must lie in the store of ``home``; some of them several times."""
    for column in _DOCUMENTS:
        yield from session.execute(select(column).where(column.is_not(None)).distinct()).scalars()
    held = select(_REPLICA.c.sha256).where(_REPLICA.c.home == home, _REPLICA.c.state == _HERE)
    yield from session.execute(held).scalars()
    last = 0
    while rows := session.execute(_in_store(home, last)).all():
        yield from (row.sha256 for row in rows)
        last = rows[-1].id


def _in_store(home: str, after: int) -> Select[Any]:
    """A page of the files of runs that were taken into the store: outputs, and inputs but for late ones. What a run
    of another data folder has lies there."""
    kept = or_(_IS_OUTPUT, and_(_OCCURRENCE.c.step.is_(None), ~IS_LATE))
    is_ours = or_(_RUN.c.home == home, _RUN.c.home.is_(None))
    return (
        select(_OCCURRENCE.c.id, _OCCURRENCE.c.sha256)
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(_OCCURRENCE.c.id > after, _OCCURRENCE.c.sha256.is_not(None), _RUN.c.deleted_at.is_(None), is_ours, kept)
        .order_by(_OCCURRENCE.c.id)
        .limit(_PAGE)
    )


def owners(session: Session, home: str, sha256: str, *, limit: int = 20) -> list[Owner]:
    """Whose a content is, at most ``limit`` of each kind: for operators, who may know of all groups."""
    runs = (
        select(_RUN.c.id, _RUN.c.group_name, _OCCURRENCE.c.basename, _OCCURRENCE.c.step, _IS_OUTPUT, IS_LATE)
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(_OCCURRENCE.c.sha256 == sha256, _RUN.c.deleted_at.is_(None))
        .order_by(_OCCURRENCE.c.id)
        .limit(limit)
    )
    found = [
        Owner(_kind(is_made=is_output or step is not None, is_late=is_late), "run", run_id, group, basename)
        for run_id, group, basename, step, is_output, is_late in session.execute(runs)
    ]
    copies = (
        select(_REPLICA.c.id, _REPLICA.c.group_name, _REPLICA.c.address)
        .where(_REPLICA.c.sha256 == sha256, _REPLICA.c.home == home, _REPLICA.c.state == _HERE)
        .order_by(_REPLICA.c.id)
        .limit(limit)
    )
    found += [Owner(Kind.REPLICA, "replica", *row) for row in session.execute(copies)]
    return [*_owning_documents(session, sha256, limit), *dict.fromkeys(found)]


def _kind(*, is_made: bool, is_late: bool) -> Kind:
    return Kind.OUTPUT if is_made else Kind.REPLICA if is_late else Kind.UPLOAD


def _owning_documents(session: Session, sha256: str, limit: int) -> list[Owner]:
    named = select(_REVISION_FILE.c.revision_id).where(_REVISION_FILE.c.sha256 == sha256)
    revisions = (
        select(_WORKFLOW.c.id, _WORKFLOW.c.group_name, _WORKFLOW.c.name)
        .join(_REVISION, _REVISION.c.workflow_id == _WORKFLOW.c.id)
        .where(or_(_REVISION.c.spec_sha256 == sha256, _REVISION.c.inputs_sha256 == sha256, _REVISION.c.id.in_(named)))
        .distinct()
        .limit(limit)
    )
    captures = (
        select(_RUN.c.id, _RUN.c.group_name)
        .join(_CAPTURE, _CAPTURE.c.run_id == _RUN.c.id)
        .where(_CAPTURE.c.sha256 == sha256)
        .limit(limit)
    )
    found = [Owner(Kind.DOCUMENT, "workflow", *row) for row in session.execute(revisions)]
    records = [
        Owner(Kind.DOCUMENT, "run", run_id, group, "captured record") for run_id, group in session.execute(captures)
    ]
    return found + records


def copies_of(session: Session, home: str, sha256: str) -> list[int]:
    """The copies that are here and have these bytes."""
    query = select(_REPLICA.c.id).where(_REPLICA.c.home == home, _REPLICA.c.sha256 == sha256, _REPLICA.c.state == _HERE)
    return list(session.execute(query).scalars())


def droppable(
    session: Session, home: str, *, limit: int | None = None, among: Collection[int] | None = None
) -> list[Held]:
    """Copies that no run which goes on needs, the one first that was used longest ago."""
    names = "id", "sha256", "size_bytes", "address", "group_name", "used_at"
    query = (
        select(*(_REPLICA.c[name] for name in names))
        .where(_REPLICA.c.home == home, _REPLICA.c.state == _HERE, _REPLICA.c.sha256.is_not(None), ~_IS_NEEDED)
        .order_by(_REPLICA.c.used_at, _REPLICA.c.id)
    )
    if among is not None:
        query = query.where(_REPLICA.c.id.in_(among))
    rows = session.execute(query.limit(limit) if limit is not None else query)
    return [Held(row.id, row.sha256, row.size_bytes or 0, row.address, row.group_name, row.used_at) for row in rows]


def reserved_bytes(session: Session, home: str) -> tuple[int, int]:
    """The space that is kept for copies being moved, and how many that are."""
    query = select(func.coalesce(func.sum(_REPLICA.c.reserved_bytes), 0), func.count()).where(
        _REPLICA.c.home == home, _REPLICA.c.state == ReplicaState.MOVING.value
    )
    reserved, moving = session.execute(query).one()
    return int(reserved), int(moving)
