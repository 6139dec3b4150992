"""Sealed records."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from stemma.database.tables import CaptureRow, PersonRow
from stemma.errors import AlreadyCaptured, CaptureNotFound
from stemma.records import Capture, Person


def add(session: Session, run_id: int, sha256: str, by: Person, now: datetime) -> Capture:
    """Seal a run's record.

    Raises:
        AlreadyCaptured: it was sealed before, or is at this very moment.
    """
    try:
        with session.begin_nested():
            session.add(CaptureRow(run_id=run_id, sha256=sha256, captured_at=now, captured_by=by.subject))
    except IntegrityError as error:
        raise AlreadyCaptured(run_id) from error
    return Capture(run_id, sha256, now, by)


def find(session: Session, run_id: int) -> Capture | None:
    """The sealed record of a run; None when it was not captured."""
    query = (
        select(CaptureRow, PersonRow)
        .join(PersonRow, col(PersonRow.subject) == col(CaptureRow.captured_by))
        .where(col(CaptureRow.run_id) == run_id)
    )
    found = session.execute(query).first()
    if found is None:
        return None
    row, person = found
    return Capture(run_id, row.sha256, row.captured_at, Person(person.subject, person.username))


def get(session: Session, run_id: int) -> Capture:
    """The sealed record of a run.

    Raises:
        CaptureNotFound: it was not captured.
    """
    capture = find(session, run_id)
    if capture is None:
        raise CaptureNotFound(run_id)
    return capture
