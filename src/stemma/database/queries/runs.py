"""Runs as people see them. What is in none of the caller's groups does not exist."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from stemma.database.queries import events
from stemma.database.tables import CaptureRow, PersonRow, RevisionRow, RunRow
from stemma.errors import DatabaseUnavailable, RunNotFound
from stemma.records import Json, Person, RunSummary
from stemma.states import RunState

_NUMBERING_RETRIES = 20


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run starts from."""

    uuid: UUID
    group: str
    workflow_id: int
    revision_id: int
    engine: str
    name: str
    submitted_by: Person
    inputs: dict[str, Json]
    containers: str
    time_limit_seconds: float | None


def _summaries() -> Any:
    return (
        select(
            RunRow,
            col(RevisionRow.number),
            col(PersonRow.username),
            col(CaptureRow.captured_at),
        )
        .join(RevisionRow, col(RevisionRow.id) == col(RunRow.revision_id))
        .join(PersonRow, col(PersonRow.subject) == col(RunRow.submitted_by))
        .outerjoin(CaptureRow, col(CaptureRow.run_id) == col(RunRow.id))
    )


def _summary(found: Any) -> RunSummary:
    row, revision_number, username, captured_at = found
    return RunSummary(
        id=row.id,
        uuid=row.uuid,
        group=row.group_name,
        workflow_id=row.workflow_id,
        revision_number=revision_number,
        engine=row.engine,
        reference=row.reference,
        name=row.name,
        number=row.number,
        state=RunState(row.state),
        submitted_by=Person(row.submitted_by, username),
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        reason=row.reason,
        attempt=row.attempt,
        stop_requested_at=row.stop_requested_at,
        captured_at=captured_at,
    )


def page(
    session: Session,
    groups: Collection[str],
    *,
    limit: int,
    before: int | None = None,
    state: RunState | None = None,
    workflow_id: int | None = None,
    name: str | None = None,
) -> list[RunSummary]:
    """At most ``limit`` runs of ``groups``, newest first, with ids below ``before``."""
    query = _summaries().where(col(RunRow.group_name).in_(groups), col(RunRow.deleted_at).is_(None))
    if before is not None:
        query = query.where(col(RunRow.id) < before)
    if state is not None:
        query = query.where(col(RunRow.state) == state.value)
    if workflow_id is not None:
        query = query.where(col(RunRow.workflow_id) == workflow_id)
    if name is not None:
        query = query.where(col(RunRow.name) == name)
    return [_summary(row) for row in session.execute(query.order_by(col(RunRow.id).desc()).limit(limit))]


def get(session: Session, run_id: int, groups: Collection[str]) -> RunSummary:
    """The run.

    Raises:
        RunNotFound: there is none of this id in ``groups``, or it was deleted.
    """
    query = _summaries().where(
        col(RunRow.id) == run_id,
        col(RunRow.group_name).in_(groups),
        col(RunRow.deleted_at).is_(None),
    )
    row = session.execute(query).first()
    if row is None:
        raise RunNotFound(run_id)
    return _summary(row)


def id_by_name(session: Session, name: str, number: int, groups: Collection[str]) -> int:
    """The id of the run that ``reana_name`` and ``reana_run_number`` name; the newest where several groups have one.

    Raises:
        RunNotFound: there is none in ``groups``.
    """
    query = select(func.max(col(RunRow.id))).where(
        col(RunRow.name) == name,
        col(RunRow.number) == number,
        col(RunRow.group_name).in_(groups),
        col(RunRow.deleted_at).is_(None),
    )
    found = session.execute(query).scalar()
    if found is None:
        raise RunNotFound(f"{name} #{number}")
    return int(found)


def add(session: Session, new: NewRun, now: datetime) -> int:
    """Write a queued run with the next number of its name in its group, and return its id."""
    for _ in range(_NUMBERING_RETRIES):
        row = RunRow(
            uuid=new.uuid,
            group_name=new.group,
            workflow_id=new.workflow_id,
            revision_id=new.revision_id,
            engine=new.engine,
            name=new.name,
            number=_next_number(session, new.group, new.name),
            state=RunState.QUEUED.value,
            submitted_by=new.submitted_by.subject,
            submitted_at=now,
            inputs=new.inputs,
            containers=new.containers,
            time_limit_seconds=new.time_limit_seconds,
            lease_until=now,
        )
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # somebody took the number since we looked
            continue
        if row.id is None:
            raise AssertionError("the database gave no id")
        events.add(session, row.id, RunState.QUEUED.value, now)
        return row.id
    raise DatabaseUnavailable(f"no free number for {new.name}")


def _next_number(session: Session, group: str, name: str) -> int:
    query = select(func.max(col(RunRow.number))).where(col(RunRow.group_name) == group, col(RunRow.name) == name)
    return (session.execute(query).scalar() or 0) + 1


def request_stop(session: Session, run_id: int, by: Person, now: datetime) -> None:
    """Ask the worker to stop the run; one that nobody attends to yet is stopped right here."""
    asked = {"stop_requested_at": now, "stop_requested_by": by.subject}
    waiting = update(RunRow).where(
        col(RunRow.id) == run_id,
        col(RunRow.state).in_([RunState.CREATED.value, RunState.QUEUED.value]),
        col(RunRow.lease_until) <= now,
    )
    reason = f"stopped by {by.username} before it started"
    ended = {"state": RunState.STOPPED.value, "active": False, "ended_at": now, "reason": reason}
    if session.execute(waiting.values(**asked, **ended)).rowcount:  # type: ignore[attr-defined]
        events.add(session, run_id, RunState.STOPPED.value, now, reason)
        return
    session.execute(
        update(RunRow)
        .where(
            col(RunRow.id) == run_id,
            col(RunRow.active).is_(True),
            col(RunRow.stop_requested_at).is_(None),
        )
        .values(**asked),
    )


def mark_deleted(session: Session, run_id: int, now: datetime) -> bool:
    """Delete an ended run: gone from lists and look-ups, its record kept. False when it has not ended.

    A worker is left to remove what the engine keeps of it.
    """
    ended = [RunState.FINISHED.value, RunState.FAILED.value, RunState.STOPPED.value]
    statement = (
        update(RunRow)
        .where(col(RunRow.id) == run_id, col(RunRow.state).in_(ended))
        .values(state=RunState.DELETED.value, deleted_at=now, active=True, lease_until=now, lease_owner=None)
    )
    if not session.execute(statement).rowcount:  # type: ignore[attr-defined]
        return False
    events.add(session, run_id, RunState.DELETED.value, now)
    return True
