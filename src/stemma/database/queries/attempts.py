"""The attempts at a run."""

from datetime import datetime

from sqlalchemy import Update, update
from sqlmodel import Session

from stemma.database.queries.insert import insert_rows
from stemma.database.tables import AttemptRow, table_of
from stemma.records import AttemptRecord, Json


def add(session: Session, run_id: int, attempt: AttemptRecord) -> None:
    """Open an attempt."""
    row = {
        "run_id": run_id,
        "number": attempt.number,
        "uuid": attempt.uuid,
        "worker": attempt.worker,
        "started_at": attempt.started_at,
        "environment": attempt.environment,
    }
    insert_rows(session, AttemptRow, [row])


def set_environment(session: Session, run_id: int, number: int, environment: dict[str, Json]) -> None:
    """Write down where an attempt runs."""
    session.execute(_one(run_id, number).values(environment=environment))


def close(session: Session, run_id: int, number: int, *, outcome: str, reason: str | None, at: datetime) -> None:
    """End an attempt."""
    session.execute(_one(run_id, number).values(outcome=outcome, reason=reason, ended_at=at))


def _one(run_id: int, number: int) -> Update:
    table = table_of(AttemptRow)
    return update(table).where(table.c.run_id == run_id, table.c.number == number)
