"""Runs as people see them. What is in none of the caller's groups does not exist."""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import FromClause, Integer, Select, and_, bindparam, func, or_, select, true, union_all, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from stemma.database.prepared import Prepared
from stemma.database.queries import events, facts
from stemma.database.tables import CaptureRow, PersonRow, RevisionRow, RunRow, WorkflowRow, table_of
from stemma.errors import DatabaseUnavailable, RunNotFound
from stemma.records import Json, Person, RunSummary
from stemma.states import RunState

_NUMBERING_RETRIES = 20
_GROUPS_ONE_BY_ONE = 50


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


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run with what went in and what came out."""

    summary: RunSummary
    inputs: dict[str, Json]
    outputs: dict[str, Json] | None
    """None until it has finished."""


_WORKFLOW = table_of(WorkflowRow)
_RUN, _REVISION, _PERSON, _CAPTURE = (table_of(row) for row in (RunRow, RevisionRow, PersonRow, CaptureRow))
_COLUMNS: Final = (
    *(_RUN.c[name] for name in (
        "id", "uuid", "group_name", "workflow_id", "engine", "reference", "name", "number", "state", "submitted_by",
        "submitted_at", "started_at", "ended_at", "reason", "attempt", "stop_requested_at", "engine_run_id",
        "engine_run_name", "engine_run_number",
    )),
    _REVISION.c.number.label("revision_number"),
    _PERSON.c.username,
    _CAPTURE.c.captured_at,
)  # fmt: skip


def _summaries(start: FromClause = _RUN) -> Select[Any]:
    """What is told of runs; of those in ``start``, where that is joined with them."""
    return select(*_COLUMNS).select_from(
        start.join(_REVISION, _REVISION.c.id == _RUN.c.revision_id)
        .join(_PERSON, _PERSON.c.subject == _RUN.c.submitted_by)
        .outerjoin(_CAPTURE, _CAPTURE.c.run_id == _RUN.c.id),
    )


_VISIBLE: Final = (
    _RUN.c.group_name.in_(bindparam("groups", expanding=True)),
    _RUN.c.deleted_at.is_(None),
)
_FILTERS: Final = {
    "before": _RUN.c.id < bindparam("before"),
    "state": _RUN.c.state == bindparam("state"),
    "workflow_id": _RUN.c.workflow_id == bindparam("workflow_id"),
    "name": _RUN.c.name == bindparam("name"),
}
_BY_ID: Final = _summaries().where(_RUN.c.id == bindparam("run_id"), *_VISIBLE)
_ONE: Final = Prepared(_BY_ID)
_ONE_WHOLE: Final = Prepared(_BY_ID.add_columns(_RUN.c.inputs, _RUN.c.outputs))


def _summary(row: Any) -> RunSummary:
    return RunSummary(
        id=row.id,
        uuid=row.uuid,
        group=row.group_name,
        workflow_id=row.workflow_id,
        revision_number=row.revision_number,
        engine=row.engine,
        reference=row.reference,
        engine_run_id=row.engine_run_id,
        name=row.engine_run_name or row.name,
        number=row.number if row.engine_run_number is None else row.engine_run_number,
        state=RunState(row.state),
        submitted_by=Person(row.submitted_by, row.username),
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        reason=row.reason,
        attempt=row.attempt,
        stop_requested_at=row.stop_requested_at,
        captured_at=row.captured_at,
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
    given = {"before": before, "state": state and state.value, "workflow_id": workflow_id, "name": name}
    chosen = {key: value for key, value in given.items() if value is not None}
    if len(groups) > _GROUPS_ONE_BY_ONE:
        rows = _page_of_many(*chosen).rows(session, limit=limit, groups=list(groups), **chosen)
        return [_summary(row) for row in rows]
    named = {f"group_{index}": group for index, group in enumerate(groups or [""])}  # nobody is in a group ""
    rows = _page_by(len(named), *chosen).rows(session, limit=limit, **named, **chosen)
    return [_summary(row) for row in rows]


@functools.cache
def _page_of_many(*filters: str) -> Prepared:
    """The same for somebody who is in so many groups that a statement of one part for each would be too long."""
    page = _summaries().where(*_VISIBLE, *(_FILTERS[name] for name in filters))
    return Prepared(page.order_by(_RUN.c.id.desc()).limit(bindparam("limit", type_=Integer)))


@functools.cache
def _page_by(groups: int, *filters: str) -> Prepared:
    """A page of what lies in so many groups, with these filters: the newest of each group, and of those the newest.

    MySQL is told which index has them in order. By itself it may begin with all revisions there are, or with all runs
    of a group, and sort what comes out, to give a page of 50.
    """
    limit = bindparam("limit", type_=Integer)
    index = {"workflow_id": "ix_run_workflow", "name": "uq_run_number"}
    hint = f"FORCE INDEX ({next((index[name] for name in filters if name in index), 'ix_run_group')})"
    conditions = [_RUN.c.deleted_at.is_(None), *(_FILTERS[name] for name in filters)]
    newest = [
        select(_RUN.c.id)
        .with_hint(_RUN, hint, dialect_name="mysql")
        .where(_RUN.c.group_name == bindparam(f"group_{number}"), *conditions)
        .order_by(_RUN.c.id.desc())
        .limit(limit)
        .subquery()
        for number in range(groups)
    ]
    chosen = union_all(*(select(one.c.id) for one in newest)).subquery()
    page = _summaries(chosen.join(_RUN, _RUN.c.id == chosen.c.id))
    return Prepared(page.prefix_with("STRAIGHT_JOIN", dialect="mysql").order_by(_RUN.c.id.desc()).limit(limit))


def get(session: Session, run_id: int, groups: Collection[str]) -> RunSummary:
    """The run.

    Raises:
        RunNotFound: there is none of this id in ``groups``, or it was deleted.
    """
    return _summary(_one(session, _ONE, run_id, groups))


def get_whole(session: Session, run_id: int, groups: Collection[str]) -> WholeRun:
    """The run with its input and output objects, as they were recorded.

    Raises:
        RunNotFound: there is none of this id in ``groups``, or it was deleted.
    """
    row = _one(session, _ONE_WHOLE, run_id, groups)
    return WholeRun(_summary(row), facts.inputs_by_now(session, run_id, row.inputs), row.outputs)


def _one(session: Session, query: Prepared, run_id: int, groups: Collection[str]) -> Any:
    row = query.first(session, run_id=run_id, groups=list(groups))
    if row is None:
        raise RunNotFound(run_id)
    return row


def id_by_name(session: Session, name: str, number: int, groups: Collection[str]) -> int:
    """The id of the run that ``reana_name`` and ``reana_run_number`` name; the newest where several groups have one.

    Raises:
        RunNotFound: there is none in ``groups``.
    """
    counted_there = col(RunRow.engine_run_number)
    query = select(func.max(col(RunRow.id))).where(
        col(RunRow.name) == name,
        or_(counted_there == number, and_(counted_there.is_(None), col(RunRow.number) == number)),
        col(RunRow.group_name).in_(groups),
        col(RunRow.deleted_at).is_(None),
    )
    found = session.execute(query).scalar()
    if found is None:
        raise RunNotFound(f"{name} #{number}")
    return int(found)


def add(session: Session, new: NewRun, now: datetime) -> int:
    """Write a queued run with the next number of its name in its group, and return its id."""
    # One after the other, for the numbers; another workflow of the same name may still be quicker.
    session.execute(select(_WORKFLOW.c.id).where(_WORKFLOW.c.id == new.workflow_id).with_for_update())
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
            col(RunRow.active) == true(),
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
