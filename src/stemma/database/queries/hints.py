"""What others' controllers told of steps: hints that expire, of what is needed next and what no more.

How far a step is only ever goes on: whatever comes again, or comes late, changes nothing. So events may be sent twice
and in any order, by several senders at once.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, case, delete, func, select, update
from sqlmodel import Session

from stemma.database.queries.insert import insert_missing
from stemma.database.queries.parts import parts_of
from stemma.database.tables import AheadRow, ReplicaRow, StepToldRow, WorkflowRow, table_of

_TOLD, _AHEAD, _REPLICA = table_of(StepToldRow), table_of(AheadRow), table_of(ReplicaRow)
_WORKFLOW = table_of(WorkflowRow)
LIFETIME: Final = timedelta(days=1)
"""How long a hint counts. Controllers that die say no more, and what they wanted must not be wanted for ever; a step
that is still queued or running after a day may be told again."""
_FORGOTTEN_AT_ONCE: Final = 1000


class ToldState(StrEnum):
    """How far a step is, as controllers tell it."""

    ADDED = "added"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def has_ended(self) -> bool:
        """Whether it reads no files any more."""
        return self not in {ToldState.ADDED, ToldState.RUNNING}

    @property
    def rank(self) -> int:
        """What comes later is higher; all ends are one."""
        return {ToldState.ADDED: 0, ToldState.RUNNING: 1}.get(self, 2)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose step it is: a run of this service, or a workflow that somebody else executes."""

    group: str
    run_id: int | None = None
    attempt: int = 0
    workflow_id: int | None = None
    label: str = ""

    def key_of(self, step: str) -> str:
        """Tells a step of it from all others."""
        parts = ("run", self.run_id, self.attempt) if self.run_id is not None else ("workflow", self.workflow_id)
        return hashlib.sha256("\n".join(map(str, (*parts, self.label, step))).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Told:
    """How far a step is, and since when."""

    state: ToldState
    at: datetime

    def then(self, other: "Told") -> "Told":
        """What is known after ``other`` was told as well: the later of both, in whatever order they come."""
        return max(self, other, key=lambda told: (told.state.rank, told.at, told.state.value))


@dataclass(frozen=True, slots=True)
class StepTold:
    """One event."""

    subject: Subject
    step: str
    told: Told

    @property
    def key(self) -> str:
        """Of the step."""
        return self.subject.key_of(self.step)


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of an event."""

    id: int
    is_new: bool
    """Whether it told of a state that was not known; that it still is in one only lets the hint live longer."""
    now: Told
    """How far the step is, with all that was told."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A copy that is to be fetched ahead."""

    replica_id: int
    group: str
    is_running: bool
    """Whether a step that is told to run reads it."""
    since: datetime


def note(session: Session, events: Sequence[StepTold], by: str, now: datetime) -> list[Noted]:
    """Write down ``events``, one after the other; what became of each. A step that has ended lets go of its files."""
    keys = sorted({event.key for event in events})
    before = {key: _told(row) for key, row in _rows(session, keys).items() if row.expires_at > now}
    known = dict(before)
    news: list[bool] = []
    for event in events:
        told = known[event.key].then(event.told) if event.key in known else event.told
        news.append(event.key not in known or known[event.key].state is not told.state)
        known[event.key] = told
    insert_missing(session, StepToldRow, [_new(event, known[event.key], by, now) for event in _each(events)])
    ids: dict[str, int] = {}
    rows = _rows(session, keys)
    let_go(session, [row.id for row in rows.values() if row.expires_at <= now])
    for key, row in rows.items():
        told = known[key] if row.expires_at <= now else _told(row).then(known[key])
        if told != _told(row):
            changed = {"state": told.state.value, "at": told.at, "told_at": now, "told_by": by}
            session.execute(update(_TOLD).where(_TOLD.c.id == row.id).values(**changed, expires_at=told.at + LIFETIME))
        known[key], ids[key] = told, row.id
    let_go(session, [ids[key] for key in keys if known[key].state.has_ended])
    return [Noted(ids[event.key], new, known[event.key]) for event, new in zip(events, news, strict=True)]


def _each(events: Iterable[StepTold]) -> list[StepTold]:
    """One event of each step, in an order that all writers share."""
    return [event for _, event in sorted({event.key: event for event in events}.items())]


def _new(event: StepTold, told: Told, by: str, now: datetime) -> dict[str, Any]:
    subject = event.subject
    return {
        "told_key": event.key,
        "group_name": subject.group,
        "run_id": subject.run_id,
        "attempt": subject.attempt,
        "workflow_id": subject.workflow_id,
        "label": subject.label,
        "step_key": event.step,
        "state": told.state.value,
        "at": told.at,
        "told_at": now,
        "told_by": by,
        "expires_at": told.at + LIFETIME,
    }


def _rows(session: Session, keys: Sequence[str]) -> dict[str, Any]:
    """The rows of these steps, which nobody else changes until the transaction ends."""
    found: dict[str, Any] = {}
    for part in parts_of(keys):
        query = select(_TOLD).where(_TOLD.c.told_key.in_(part)).order_by(_TOLD.c.told_key).with_for_update()
        found |= {row.told_key: row for row in session.execute(query)}
    return found


def _told(row: Any) -> Told:
    return Told(ToldState(row.state), row.at)


def states(session: Session, events: Sequence[StepTold], now: datetime) -> dict[str, Told]:
    """How far the steps of ``events`` are already, by their keys."""
    found: dict[str, Told] = {}
    for part in parts_of(sorted({event.key for event in events})):
        query = select(_TOLD.c.told_key, _TOLD.c.state, _TOLD.c.at).where(
            _TOLD.c.told_key.in_(part), _TOLD.c.expires_at > now
        )
        found |= {row.told_key: _told(row) for row in session.execute(query)}
    return found


def one_at_a_time(session: Session, groups: Collection[str]) -> None:
    """Nobody else tells anything of ``groups`` until the transaction ends: what they have is counted, then added to.

    What is told of is a workflow of its group, or a run of one, and rows of workflows stay: the oldest is locked for
    all of them. SQLite has one writer at a time anyway.
    """
    for group in sorted(groups):
        oldest = session.execute(select(func.min(_WORKFLOW.c.id)).where(_WORKFLOW.c.group_name == group)).scalar()
        session.execute(select(_WORKFLOW.c.id).where(_WORKFLOW.c.id == oldest).with_for_update())


def count(session: Session, group: str, now: datetime, *, but_by: str | None = None) -> int:
    """Of how many steps a group has hints that count; ``but_by``: those that anybody else told of last."""
    query = select(func.count()).select_from(_TOLD).where(_TOLD.c.group_name == group, _TOLD.c.expires_at > now)
    if but_by is not None:
        query = query.where(_TOLD.c.told_by != but_by)
    return int(session.execute(query).scalar_one())


def of_run(session: Session, run_id: int, attempt: int, now: datetime) -> list[tuple[str, ToldState, datetime]]:
    """What was told of the steps of an attempt: the step, how far it is, and when that was told."""
    query = select(_TOLD.c.step_key, _TOLD.c.state, _TOLD.c.told_at).where(
        _TOLD.c.run_id == run_id, _TOLD.c.attempt == attempt, _TOLD.c.expires_at > now
    )
    return [(step, ToldState(state), told_at) for step, state, told_at in session.execute(query.order_by(_TOLD.c.id))]


def wish(session: Session, told_id: int, replica_ids: Collection[int], by: str) -> None:
    """These copies are wanted for a step that was told of; whoever says so answers for all that it wants."""
    rows = [{"told_id": told_id, "replica_id": replica_id} for replica_id in sorted(set(replica_ids))]
    if not rows:
        return
    insert_missing(session, AheadRow, rows)
    session.execute(update(_TOLD).where(_TOLD.c.id == told_id, _TOLD.c.told_by != by).values(told_by=by))


def let_go(session: Session, told_ids: Collection[int]) -> None:
    """Nothing is wanted for these steps any more."""
    for part in parts_of(sorted(told_ids)):
        session.execute(delete(_AHEAD).where(_AHEAD.c.told_id.in_(part)))


def wishes(session: Session, home: str, now: datetime) -> list[Wish]:
    """The copies that are wanted ahead in a store, each once: since when by the earliest event."""
    is_running = func.max(case((_TOLD.c.state == ToldState.RUNNING.value, 1), else_=0))
    query = (
        select(_REPLICA.c.id, _REPLICA.c.group_name, is_running, func.min(_TOLD.c.at))
        .join(_AHEAD, _AHEAD.c.replica_id == _REPLICA.c.id)
        .join(_TOLD, _TOLD.c.id == _AHEAD.c.told_id)
        .where(_REPLICA.c.home == home, _TOLD.c.expires_at > now)
        .group_by(_REPLICA.c.id, _REPLICA.c.group_name)
    )
    return [Wish(replica_id, group, bool(runs), since) for replica_id, group, runs, since in session.execute(query)]


def wished(
    session: Session, home: str, group: str, now: datetime, *, but_by: str | None = None
) -> dict[tuple[str, str], int]:
    """The sizes of the copies that a group wants ahead, by source and version; ``but_by``: those that (also) others
    want."""
    query = (
        select(_REPLICA.c.source_key, _REPLICA.c.version, _REPLICA.c.size_bytes)
        .join(_AHEAD, _AHEAD.c.replica_id == _REPLICA.c.id)
        .join(_TOLD, _TOLD.c.id == _AHEAD.c.told_id)
        .where(_REPLICA.c.home == home, _REPLICA.c.group_name == group, _TOLD.c.expires_at > now)
        .distinct()
    )
    if but_by is not None:
        query = query.where(_TOLD.c.told_by != but_by)
    return {(source_key, version): size or 0 for source_key, version, size in session.execute(query)}


def is_wished(now: datetime | BindParameter[Any]) -> ColumnElement[bool]:
    """Whether a copy is wanted ahead; a condition for queries over replicas."""
    return (
        select(_AHEAD.c.id)
        .join(_TOLD, _TOLD.c.id == _AHEAD.c.told_id)
        .where(_AHEAD.c.replica_id == _REPLICA.c.id, _TOLD.c.expires_at > now)
        .exists()
    )


def has_expired(session: Session, now: datetime) -> bool:
    """Whether there are hints that count no more."""
    return session.execute(select(_TOLD.c.id).where(_TOLD.c.expires_at <= now).limit(1)).first() is not None


def forget(session: Session, now: datetime) -> bool:
    """Remove hints that count no more, some at a time; whether there may be others."""
    query = select(_TOLD.c.id).where(_TOLD.c.expires_at <= now).order_by(_TOLD.c.id).limit(_FORGOTTEN_AT_ONCE)
    ids = list(session.execute(query.with_for_update(skip_locked=True)).scalars())
    let_go(session, ids)
    for part in parts_of(ids):
        session.execute(delete(_TOLD).where(_TOLD.c.id.in_(part)))
    return len(ids) == _FORGOTTEN_AT_ONCE
