"""Registry entries and revisions. What is in none of the caller's groups does not exist."""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Integer, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from stemma import clock
from stemma.cwl import steps
from stemma.database.prepared import Prepared
from stemma.database.queries.insert import insert_rows
from stemma.database.tables import ContentRow, PersonRow, RevisionFileRow, RevisionRow, WorkflowRow, table_of
from stemma.errors import DuplicateWorkflow, RevisionNotFound, WorkflowNotFound
from stemma.records import BundleFile, Content, Json, Person, RevisionRecord, WorkflowRecord, WorkflowStructure


@dataclass(frozen=True, slots=True)
class NewRevision:
    """What a revision consists of, before it has a number."""

    digest: str
    main_path: str
    spec_name: str
    spec: Content
    inputs_name: str | None
    inputs: Content | None
    structure: WorkflowStructure
    placeholders: Json
    warnings: Json
    files: tuple[BundleFile, ...]


@dataclass(frozen=True, slots=True)
class RevisionSummary:
    """A line of an entry's history."""

    number: int
    created_at: datetime
    created_by: Person
    digest: str
    spec_name: str
    spec: Content
    inputs_name: str | None
    inputs: Content | None


_WORKFLOW, _PERSON = table_of(WorkflowRow), table_of(PersonRow)
_ENTRIES: Final = (
    select(
        *(_WORKFLOW.c[name] for name in (
            "id", "uuid", "group_name", "name", "version", "latest_number", "created_at", "created_by", "updated_at",
        )),
        _PERSON.c.username,
    )
    .join(_PERSON, _PERSON.c.subject == _WORKFLOW.c.created_by)
    .where(_WORKFLOW.c.group_name.in_(bindparam("groups", expanding=True)), _WORKFLOW.c.live == 1)
    .prefix_with("STRAIGHT_JOIN", dialect="mysql")  # entries first, whatever MySQL thinks of the people
)  # fmt: skip
_FILTERS: Final = {
    "before": _WORKFLOW.c.id < bindparam("before"),
    "name": _WORKFLOW.c.name == bindparam("name"),
    "version": _WORKFLOW.c.version == bindparam("version"),
}
_ONE: Final = Prepared(_ENTRIES.where(_WORKFLOW.c.id == bindparam("workflow_id")))


_REVISION, _FILE, _CONTENT = (table_of(row) for row in (RevisionRow, RevisionFileRow, ContentRow))
_REVISION_BY_ID: Final = Prepared(
    select(_REVISION, *(_WORKFLOW.c[name] for name in ("group_name", "name", "version")), _PERSON.c.username)
    .join(_WORKFLOW, _WORKFLOW.c.id == _REVISION.c.workflow_id)
    .join(_PERSON, _PERSON.c.subject == _REVISION.c.created_by)
    .where(_REVISION.c.id == bindparam("revision_id")),
)
_FILES_OF_REVISION: Final = Prepared(
    select(_FILE.c.path, _FILE.c.sha256, _CONTENT.c.size_bytes)
    .join(_CONTENT, _CONTENT.c.sha256 == _FILE.c.sha256)
    .where(_FILE.c.revision_id == bindparam("revision_id"))
    .order_by(_FILE.c.path),
)


def _record(row: Any) -> WorkflowRecord:
    return WorkflowRecord(
        id=row.id,
        uuid=row.uuid,
        group=row.group_name,
        name=row.name,
        version=row.version,
        latest_number=row.latest_number,
        created_at=row.created_at,
        created_by=Person(row.created_by, row.username),
        updated_at=row.updated_at,
    )


def page(
    session: Session,
    groups: Collection[str],
    *,
    limit: int,
    before: int | None = None,
    name: str | None = None,
    version: str | None = None,
) -> list[WorkflowRecord]:
    """At most ``limit`` entries of ``groups``, newest first, with ids below ``before``."""
    given = {"before": before, "name": name, "version": version}
    chosen = {key: value for key, value in given.items() if value is not None}
    rows = _page_by(*chosen).rows(session, groups=list(groups), limit=limit, **chosen)
    return [_record(row) for row in rows]


@functools.cache
def _page_by(*filters: str) -> Prepared:
    """A page of entries, with these filters."""
    conditions = [_FILTERS[name] for name in filters]
    newest_first = _ENTRIES.where(*conditions).order_by(_WORKFLOW.c.id.desc())
    return Prepared(newest_first.limit(bindparam("limit", type_=Integer)))


def get(session: Session, workflow_id: int, groups: Collection[str], *, for_update: bool = False) -> WorkflowRecord:
    """The entry; with ``for_update`` nobody else changes it until the transaction ends.

    Raises:
        WorkflowNotFound: there is none of this id in ``groups``.
    """
    if for_update:
        session.execute(select(_WORKFLOW.c.id).where(_WORKFLOW.c.id == workflow_id).with_for_update())
    row = _ONE.first(session, workflow_id=workflow_id, groups=list(groups))
    if row is None:
        raise WorkflowNotFound(workflow_id)
    return _record(row)


def exists(session: Session, *, group: str, name: str, version: str) -> bool:
    """Whether the group has an entry of this name and version now."""
    query = select(col(WorkflowRow.id)).where(
        col(WorkflowRow.group_name) == group,
        col(WorkflowRow.name) == name,
        col(WorkflowRow.version) == version,
        col(WorkflowRow.live) == 1,
    )
    return session.execute(query).first() is not None


def add(session: Session, *, group: str, name: str, version: str, by: Person, now: datetime) -> int:
    """Make an entry without revisions yet, and return its id.

    Raises:
        DuplicateWorkflow: the group has this name and version, or takes it at this very moment.
    """
    row = WorkflowRow(
        uuid=clock.new_uuid(),
        group_name=group,
        name=name,
        version=version,
        latest_number=0,
        created_at=now,
        created_by=by.subject,
        updated_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise DuplicateWorkflow(name, version) from error
    if row.id is None:
        raise AssertionError("the database gave no id")
    return row.id


def rename(session: Session, workflow: WorkflowRecord, *, name: str, version: str, now: datetime) -> None:
    """Give the entry another name or version.

    Raises:
        DuplicateWorkflow: another entry of the group has them.
    """
    statement = update(WorkflowRow).where(col(WorkflowRow.id) == workflow.id, col(WorkflowRow.live) == 1)
    try:
        with session.begin_nested():
            session.execute(statement.values(name=name, version=version, updated_at=now))
    except IntegrityError as error:
        raise DuplicateWorkflow(name, version) from error


def delete(session: Session, workflow_id: int, now: datetime) -> None:
    """Take the entry out of the registry. Its revisions stay, for the runs that ran them."""
    session.execute(
        update(WorkflowRow).where(col(WorkflowRow.id) == workflow_id).values(live=None, deleted_at=now, updated_at=now),
    )


def add_revision(session: Session, workflow_id: int, new: NewRevision, *, by: Person, now: datetime) -> int:
    """Append a revision and return its number. The entry's row is locked until the transaction ends."""
    session.execute(
        update(WorkflowRow)
        .where(col(WorkflowRow.id) == workflow_id)
        .values(latest_number=col(WorkflowRow.latest_number) + 1, updated_at=now),
    )
    number = session.execute(
        select(col(WorkflowRow.latest_number)).where(col(WorkflowRow.id) == workflow_id),
    ).scalar_one()
    row = RevisionRow(
        workflow_id=workflow_id,
        number=number,
        created_at=now,
        created_by=by.subject,
        digest=new.digest,
        main_path=new.main_path,
        spec_name=new.spec_name,
        spec_sha256=new.spec.sha256,
        inputs_name=new.inputs_name,
        inputs_sha256=new.inputs.sha256 if new.inputs else None,
        structure=steps.to_json(new.structure),
        placeholders=new.placeholders,
        warnings=new.warnings,
    )
    session.add(row)
    session.flush()
    files = [{"revision_id": row.id, "path": file.path, "sha256": file.content.sha256} for file in new.files]
    insert_rows(session, RevisionFileRow, files)
    return int(number)


def revision_row(session: Session, workflow_id: int, number: int) -> RevisionRow:
    """The row of a revision.

    Raises:
        RevisionNotFound: the entry has none of this number.
    """
    query = select(RevisionRow).where(col(RevisionRow.workflow_id) == workflow_id, col(RevisionRow.number) == number)
    row: RevisionRow | None = session.execute(query).scalar()
    if row is None:
        raise RevisionNotFound(workflow_id, number)
    return row


def revisions(session: Session, workflow_id: int) -> list[RevisionSummary]:
    """The history of an entry, newest first."""
    spec, inputs = _CONTENT.alias(), _CONTENT.alias()
    query = (
        select(RevisionRow, PersonRow, spec.c.size_bytes, inputs.c.size_bytes)
        .join(PersonRow, col(PersonRow.subject) == col(RevisionRow.created_by))
        .join(spec, spec.c.sha256 == col(RevisionRow.spec_sha256))
        .outerjoin(inputs, inputs.c.sha256 == col(RevisionRow.inputs_sha256))
        .where(col(RevisionRow.workflow_id) == workflow_id)
        .order_by(col(RevisionRow.number).desc())
    )
    return [
        RevisionSummary(
            number=row.number,
            created_at=row.created_at,
            created_by=Person(person.subject, person.username),
            digest=row.digest,
            spec_name=row.spec_name,
            spec=Content(row.spec_sha256, spec_size),
            inputs_name=row.inputs_name,
            inputs=Content(row.inputs_sha256, inputs_size) if row.inputs_sha256 else None,
        )
        for row, person, spec_size, inputs_size in session.execute(query)
    ]


def revision_by_id(session: Session, revision_id: int) -> RevisionRecord:
    """The whole revision, with the files of its bundle. Of deleted entries too, since runs point at them."""
    row = _REVISION_BY_ID.first(session, revision_id=revision_id)
    return RevisionRecord(
        workflow_id=row.workflow_id,
        group=row.group_name,
        name=row.name,
        version=row.version,
        number=row.number,
        created_at=row.created_at,
        created_by=Person(row.created_by, row.username),
        digest=row.digest,
        main_path=row.main_path,
        structure=steps.from_json(row.structure),
        files=_files(session, revision_id),
    )


def _files(session: Session, revision_id: int) -> tuple[BundleFile, ...]:
    found = _FILES_OF_REVISION.rows(session, revision_id=revision_id)
    return tuple(BundleFile(path, Content(sha256, size)) for path, sha256, size in found)


def count(session: Session) -> int:
    """How many entries there are in all groups: a figure for operators."""
    query = select(func.count()).select_from(WorkflowRow).where(col(WorkflowRow.live) == 1)
    return int(session.execute(query).scalar_one())
