"""Who did what: written down and looked up, never changed."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, insert, or_, select
from sqlmodel import Session

from stemma.database.connection import Database
from stemma.database.tables import AuditRow, table_of
from stemma.database.tables.audit import (
    ACTION_LENGTH,
    ADDRESS_LENGTH,
    KIND_LENGTH,
    RESOURCE_LENGTH,
    RESULT_LENGTH,
    SUBJECT_LENGTH,
)
from stemma.database.tables.workflows import GROUP_LENGTH
from stemma.records import Person

DONE: Final = "done"
"""The result of what succeeded."""
PAGE: Final = 1000
"""How many rows are held at a time."""
LATE_SECONDS: Final = 60.0
"""How much later than its time a row may be seen, since it is seen when its transaction ends."""

_TABLE = table_of(AuditRow)
_CUT: Final = "…"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One deed, or the refusal of one."""

    at: datetime
    by: Person
    action: str
    resource_kind: str | None = None
    resource_id: str | None = None
    group: str | None = None
    address: str | None = None
    result: str = DONE
    status: int | None = None
    request: UUID | None = None
    id: int | None = None
    """Given by the database."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are looked for; what is None does not matter."""

    since: datetime | None = None
    until: datetime | None = None
    """Before that time."""
    user: str | None = None
    """A username of the time, or a subject."""
    action: str | None = None
    """One, or all that begin with it and a dot."""
    group: str | None = None
    resource_kind: str | None = None
    resource_id: str | None = None
    result: str | None = None
    is_refused: bool | None = None


def add(session: Session, entry: AuditEntry) -> None:
    """Append ``entry``, as part of the session's transaction. Text that is too long is cut, visibly."""
    row = {
        "at": entry.at,
        "request": entry.request,
        "subject": _kept(entry.by.subject, SUBJECT_LENGTH),
        "username": _kept(entry.by.username, SUBJECT_LENGTH),
        "action": _kept(entry.action, ACTION_LENGTH),
        "resource_kind": _kept(entry.resource_kind, KIND_LENGTH),
        "resource_id": _kept(entry.resource_id, RESOURCE_LENGTH),
        "group_name": _kept(entry.group, GROUP_LENGTH),
        "address": _kept(entry.address, ADDRESS_LENGTH),
        "result": _kept(entry.result, RESULT_LENGTH),
        "status": entry.status,
    }
    session.execute(insert(_TABLE), row)


def entries(database: Database, wanted: Wanted, newest: int | None = None) -> Iterator[AuditEntry]:
    """The entries that are wanted, or the ``newest`` of them, by time. Holds one page of them at a time."""
    with database.reading() as session:
        first = _first_of(session, wanted, newest) if newest is not None else None
    after = (first[0], first[1] - 1) if first is not None else None
    while True:
        with database.reading() as session:
            found = page(session, wanted, after)
        yield from found
        if len(found) < PAGE:
            return
        after = (found[-1].at, found[-1].id or 0)


def page(session: Session, wanted: Wanted, after: tuple[datetime, int] | None = None) -> list[AuditEntry]:
    """At most ``PAGE`` entries behind a time and id, by time."""
    query = _selected(wanted).order_by(_TABLE.c.at, _TABLE.c.id).limit(PAGE)
    if after is not None:
        at, number = after
        # Said twice, since databases find the place in an index by the first alone.
        query = query.where(_TABLE.c.at >= at, or_(_TABLE.c.at > at, _TABLE.c.id > number))
    return [_entry(row) for row in session.execute(query)]


class Following:
    """What is new since the last look. Entries are seen when their transactions end, which is not the order of time."""

    def __init__(self, database: Database, wanted: Wanted, now: datetime) -> None:
        self._database = database
        self._wanted = wanted
        self._start: datetime | None = None
        self._newest = now
        self._seen: OrderedDict[int, datetime] = OrderedDict()

    def saw(self, entry: AuditEntry) -> None:
        """Begin behind ``entry``, which was shown; none is shown that is older than the first of those."""
        if self._start is None:
            self._start = self._newest = entry.at
        self._note(entry)

    def look(self) -> Iterator[AuditEntry]:
        """Entries that were not seen before."""
        after = (max(self._horizon, self._start or self._horizon), -1)
        while True:
            with self._database.reading() as session:
                found = page(session, self._wanted, after)
            for entry in found:
                if entry.id not in self._seen:
                    self._note(entry)
                    yield entry
            if len(found) < PAGE:
                return
            after = (found[-1].at, found[-1].id or 0)

    def _note(self, entry: AuditEntry) -> None:
        self._newest = max(self._newest, entry.at)
        self._seen[entry.id or 0] = entry.at
        while next(iter(self._seen.values())) < self._horizon:
            self._seen.popitem(last=False)

    @property
    def _horizon(self) -> datetime:
        """Nothing older comes any more."""
        return self._newest - timedelta(seconds=LATE_SECONDS)


def _first_of(session: Session, wanted: Wanted, newest: int) -> tuple[datetime, int] | None:
    """The time and id of the oldest of the ``newest`` entries; None where there are fewer."""
    query = _selected(wanted).with_only_columns(_TABLE.c.at, _TABLE.c.id)
    found = session.execute(query.order_by(_TABLE.c.at.desc(), _TABLE.c.id.desc()).offset(newest - 1).limit(1)).first()
    return None if found is None else (found.at, found.id)


def _selected(wanted: Wanted) -> Select[Any]:
    column = _TABLE.c
    query = select(_TABLE)
    if wanted.since is not None:
        query = query.where(column.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(column.at < wanted.until)
    if wanted.user is not None:
        query = query.where(or_(column.username == wanted.user, column.subject == wanted.user))
    if wanted.action is not None:
        family = column.action.startswith(f"{wanted.action}.", autoescape=True)
        query = query.where(or_(column.action == wanted.action, family))
    for there, asked in (
        (column.group_name, wanted.group),
        (column.resource_kind, wanted.resource_kind),
        (column.resource_id, wanted.resource_id),
        (column.result, wanted.result),
    ):
        if asked is not None:
            query = query.where(there == asked)
    if wanted.is_refused is not None:
        query = query.where(column.result != DONE if wanted.is_refused else column.result == DONE)
    return query


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        at=row.at,
        by=Person(row.subject, row.username),
        action=row.action,
        resource_kind=row.resource_kind,
        resource_id=row.resource_id,
        group=row.group_name,
        address=row.address,
        result=row.result,
        status=row.status,
        request=row.request,
        id=row.id,
    )


def _kept(text: str | None, length: int) -> str | None:
    """``text`` as the database can keep it: no half characters, and cut where it is too long."""
    if text is None:
        return None
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= length else whole[: length - 1] + _CUT
