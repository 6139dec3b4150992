"""An input from elsewhere that is asked for after it was dropped, or before it came: what to say, and how to get it."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, or_, select
from sqlmodel import Session

from stemma.database.queries.archive import is_archived
from stemma.database.queries.replicas import NeedState, ReplicaState
from stemma.database.queries.storekeeping import ARCHIVED_ADDRESS, IS_LATE
from stemma.database.tables import OccurrenceRow, ReplicaRow, ReplicationRow, RunOutputRow, RunRow, table_of
from stemma.errors import Conflict
from stemma.store.content import ContentStore

_REPLICATION, _REPLICA, _RUN, _OCCURRENCE, _OUTPUT = (
    table_of(row) for row in (ReplicationRow, ReplicaRow, RunRow, OccurrenceRow, RunOutputRow)
)


class InputDropped(Conflict):
    """A run had this file from elsewhere, and it was dropped from the store to make room."""

    code = "input-dropped"

    def __init__(self, basename: str, url: str, version: str, sha256: str) -> None:
        at = f" at version {version}" if version else ""
        super().__init__(
            f"the input {basename!r} was fetched from {url}{at} with SHA-256 {sha256}, and was dropped since to make "
            f"room; get it from there (from a registered remote with `stemma remote get`), or run the workflow again"
        )
        self.basename, self.url, self.version, self.sha256 = basename, url, version, sha256


class InputAwaited(Conflict):
    """A run needs this file from elsewhere, and it has not come."""

    code = "input-awaited"

    def __init__(self, basename: str, url: str, error: str | None = None) -> None:
        why = f": {error}" if error else ""
        super().__init__(f"the input {basename!r} of this execution has not come from {url}{why}")
        self.basename, self.url, self.error = basename, url, error


class InputElsewhere(Conflict):
    """A run's input was read where it lies, by the engine's server: it was never here."""

    code = "input-elsewhere"

    def __init__(self, basename: str, url: str, version: str) -> None:
        at = f", at version {version} when the run was submitted" if version else ""
        super().__init__(
            f"the input {basename!r} was never here: the engine's server read it from {url}{at}; get it from there "
            "(from a registered remote with `stemma remote get`)"
        )
        self.basename, self.url, self.version = basename, url, version


def check_file(session: Session, store: ContentStore, occurrence_id: int, groups: Collection[str]) -> None:
    """Return unless this file is a late input, in a run of one of ``groups``, that is not in the store.

    Raises:
        InputDropped: it was here, and is not any more.
        InputAwaited: it has not come, or cannot be had.
        InputElsewhere: it was not to come.
    """
    _check(session, store, groups, _OCCURRENCE.c.id == occurrence_id)


def check_inputs(session: Session, store: ContentStore, run_id: int, groups: Collection[str]) -> None:
    """Return when all late inputs of a run are in the store.

    Raises:
        InputDropped: one was here, and is not any more.
        InputAwaited: one has not come, or cannot be had.
        InputElsewhere: one was not to come.
    """
    _check(session, store, groups, _OCCURRENCE.c.run_id == run_id)


def _check(session: Session, store: ContentStore, groups: Collection[str], which: ColumnElement[bool]) -> None:
    query = (
        select(
            _REPLICATION.c.source,
            _OCCURRENCE.c.basename,
            _OCCURRENCE.c.sha256,
            _REPLICA.c.state,
            _REPLICATION.c.state.label("need"),
            _REPLICATION.c.error,
        )
        .join(_OCCURRENCE, _OCCURRENCE.c.uuid == _REPLICATION.c.occurrence)
        .join(_REPLICA, _REPLICA.c.id == _REPLICATION.c.replica_id)
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(which, _RUN.c.group_name.in_(groups), _RUN.c.deleted_at.is_(None))
        .where(_REPLICA.c.address.not_like(f"{ARCHIVED_ADDRESS}%"))
        .order_by(_REPLICATION.c.id)
    )
    for source, basename, sha256, state, need, error in session.execute(query):
        url = str(source.get("url") or "elsewhere")
        if need == NeedState.HANDED:
            raise InputElsewhere(basename, url, str(source.get("version") or ""))
        if sha256 is None:
            raise InputAwaited(basename, url, error)
        # That the bytes are here for another group must not be seen from whether this one gets them.
        is_here = store.has(sha256)
        if is_here and state == ReplicaState.HERE:
            continue
        if (is_here or is_archived(session, sha256)) and is_held(session, sha256, groups):
            continue
        raise InputDropped(basename, url, str(source.get("version") or ""), sha256)


def is_held(session: Session, sha256: str, groups: Collection[str]) -> bool:
    """Whether the groups have these bytes as an upload, an output, or another copy."""
    is_output = select(_OUTPUT.c.id).where(_OUTPUT.c.occurrence == _OCCURRENCE.c.uuid).exists()
    kept = (
        select(_OCCURRENCE.c.id)
        .join(_RUN, _RUN.c.id == _OCCURRENCE.c.run_id)
        .where(_OCCURRENCE.c.sha256 == sha256, or_(is_output, ~IS_LATE))
        .where(_RUN.c.group_name.in_(groups), _RUN.c.deleted_at.is_(None))
    )
    copies = select(_REPLICA.c.id).where(
        _REPLICA.c.sha256 == sha256, _REPLICA.c.state == ReplicaState.HERE.value, _REPLICA.c.group_name.in_(groups)
    )
    return any(session.execute(query.limit(1)).first() is not None for query in (kept, copies))
