"""Contents, and who may name them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlmodel import Session, col

from stemma.database.queries.insert import insert_missing
from stemma.database.queries.parts import parts_of
from stemma.database.tables import OccurrenceRow, RunOutputRow, RunRow
from stemma.database.tables.contents import ContentRow
from stemma.errors import FileNotFound
from stemma.records import Content, FileKind, Occurrence

_HASHES_HERE = "cwltool"
"""The engine that hashes what steps make on this machine."""


def remember(session: Session, contents: Iterable[Content], now: datetime) -> None:
    """Know these contents from now on. In the order of digests, so that two writers do not lock crosswise."""
    unique = {content.sha256: content.size_bytes for content in contents}
    rows = [{"sha256": digest, "size_bytes": size, "first_seen_at": now} for digest, size in sorted(unique.items())]
    insert_missing(session, ContentRow, rows)


def sizes_of(session: Session, digests: Sequence[str]) -> dict[str, int]:
    """How long those of ``digests`` are that are known."""
    found: dict[str, int] = {}
    for part in parts_of(digests):
        query = select(col(ContentRow.sha256), col(ContentRow.size_bytes)).where(col(ContentRow.sha256).in_(part))
        found |= {row.sha256: row.size_bytes for row in session.execute(query)}
    return found


def held_by(session: Session, sha256: str, groups: Collection[str]) -> Content:
    """The content of this digest, if one of ``groups`` holds an occurrence of it in a run that is not deleted.

    A digest is a name, not a key: knowing it gives nothing to who could not read the file anyway.

    Raises:
        FileNotFound: none does, whether or not the content exists.
    """
    query = (
        select(col(OccurrenceRow.size_bytes))
        .join(RunRow, col(RunRow.id) == col(OccurrenceRow.run_id))
        .where(
            col(OccurrenceRow.sha256) == sha256,
            col(RunRow.group_name).in_(groups),
            col(RunRow.deleted_at).is_(None),
            _is_proven(),
        )
        .limit(1)
    )
    size = session.execute(query).scalar()
    if size is None:
        raise FileNotFound(f"with digest {sha256}")
    return Content(sha256, size)


def _is_proven() -> ColumnElement[bool]:
    """Whether the bytes of an occurrence were seen here under its digest: then, and not before, it stands for them.

    What a step made elsewhere has the digest that its job told. It is proven where it was fetched as an output of the
    run; else a tool that claims the digest of another group's file would be given that file.
    """
    outputs = select(col(RunOutputRow.occurrence)).where(
        col(RunOutputRow.run_id) == col(OccurrenceRow.run_id), col(RunOutputRow.occurrence) == col(OccurrenceRow.uuid)
    )
    return or_(col(OccurrenceRow.step).is_(None), col(RunRow.engine) == _HASHES_HERE, outputs.exists())


def file(session: Session, occurrence_id: int, groups: Collection[str]) -> Occurrence:
    """The file entity of this number, if it belongs to a run of one of ``groups`` that is not deleted.

    Raises:
        FileNotFound: it does not, is a directory, or its bytes were never seen here.
    """
    query = (
        select(OccurrenceRow)
        .join(RunRow, col(RunRow.id) == col(OccurrenceRow.run_id))
        .where(
            col(OccurrenceRow.id) == occurrence_id,
            col(OccurrenceRow.kind) == FileKind.FILE.value,
            col(RunRow.group_name).in_(groups),
            col(RunRow.deleted_at).is_(None),
            _is_proven(),
        )
    )
    row = session.execute(query).scalar()
    if row is None or row.sha256 is None or row.size_bytes is None:
        raise FileNotFound(occurrence_id)
    return Occurrence(
        uuid=row.uuid,
        kind=FileKind.FILE,
        basename=row.basename,
        port=row.port,
        position=row.position,
        content=Content(row.sha256, row.size_bytes),
        id=row.id,
    )
