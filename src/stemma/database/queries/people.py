"""People."""

from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from stemma.database.queries.insert import insert_missing
from stemma.database.tables import PersonRow, table_of
from stemma.records import Person

_PERSON = table_of(PersonRow)
_USERNAME = select(_PERSON.c.username).where(_PERSON.c.subject == bindparam("subject"))


def remember(session: Session, person: Person, now: datetime) -> None:
    """Know ``person`` from now on, under the name of today."""
    known = session.execute(_USERNAME, {"subject": person.subject}).scalar()
    if known == person.username:  # nothing is locked: whoever does many things at once would wait for himself
        return
    row = {"subject": person.subject, "username": person.username, "first_seen_at": now}
    insert_missing(session, PersonRow, [row])
    session.execute(
        update(PersonRow)
        .where(col(PersonRow.subject) == person.subject, col(PersonRow.username) != person.username)
        .values(username=person.username),
    )
