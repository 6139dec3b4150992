"""Changes of state, in the order of happening."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlmodel import Session, col

from stemma.database.queries.insert import insert_rows
from stemma.database.tables import EventRow
from stemma.records import RunEvent


def add(session: Session, run_id: int, state: str, at: datetime, message: str | None = None) -> None:
    """Append that a run changed its state."""
    insert_rows(session, EventRow, [{"run_id": run_id, "at": at, "state": state, "message": message}])


def since(session: Session, run_id: int, after: int, limit: int = 1000) -> list[RunEvent]:
    """At most ``limit`` events of a run with ids above ``after``, oldest first.

    Events of one run are written under the lock of its row, so that ids appear in order.
    """
    query = (
        select(EventRow)
        .where(col(EventRow.run_id) == run_id, col(EventRow.id) > after)
        .order_by(col(EventRow.id))
        .limit(limit)
    )
    return [
        RunEvent(row.id or 0, row.at, row.state, UUID(str(row.step)) if row.step else None, row.step_key, row.message)
        for row in session.execute(query).scalars()
    ]
