"""People."""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import Session, col

from stemma.database.queries.insert import insert_missing
from stemma.database.tables import PersonRow
from stemma.records import Person


def remember(session: Session, person: Person, now: datetime) -> None:
    """Know ``person`` from now on, under the name of today."""
    row = {"subject": person.subject, "username": person.username, "first_seen_at": now}
    insert_missing(session, PersonRow, [row])
    session.execute(
        update(PersonRow)
        .where(col(PersonRow.subject) == person.subject, col(PersonRow.username) != person.username)
        .values(username=person.username),
    )
