"""The durable queue: claims with a lease, fenced writes, and the only way from state to state.

A worker owns a run until its lease passes. Each claim counts the run's ``fence`` up; whatever a worker
writes names the fence of its claim, and is refused once somebody else has claimed the run since.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import and_, bindparam, or_, select, true, update
from sqlmodel import Session

from stemma.database.prepared import Prepared
from stemma.database.queries import events
from stemma.database.tables import RunRow, table_of
from stemma.errors import LeaseLost
from stemma.records import Claim, Json
from stemma.states import RunState, may_advance

_RUN = table_of(RunRow)
_LONG: Final = {"inputs", "outputs"}
"""What may be megabytes: read where it is used, and not at every look at a run."""
_ROW = Prepared(
    select(*(column for column in _RUN.c if column.name not in _LONG)).where(_RUN.c.id == bindparam("run_id"))
)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A worker that asks for runs."""

    worker: str
    home: str
    """The data folder whose run processes it can reach."""
    engines: tuple[str, ...]
    lease_seconds: float
    takeover_seconds: float


def claim(session: Session, claimant: Claimant, *, limit: int, now: datetime) -> list[Claim]:
    """Claim at most ``limit`` runs that need attention and that nobody attends to, oldest first."""
    query = (
        select(_RUN.c.id, _RUN.c.fence, _RUN.c.uuid)
        .where(*_claimable(claimant, now))
        .order_by(_RUN.c.lease_until, _RUN.c.id)  # as the index has them: what is not due is not even read
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite: nothing to skip, the whole transaction holds the write lock
    )
    return [_take(session, claimant, now, row) for row in session.execute(query).all()]


def _claimable(claimant: Claimant, now: datetime) -> tuple[Any, ...]:
    """A run in another data folder is left to the workers there for a while, since its process may live."""
    late = now - timedelta(seconds=claimant.takeover_seconds)
    reachable = or_(_RUN.c.home.is_(None), _RUN.c.home == claimant.home, _RUN.c.lease_until <= late)
    return (
        _RUN.c.active == true(),  # MySQL looks up no ``IS true`` in an index
        _RUN.c.lease_until <= now,
        _RUN.c.engine.in_(claimant.engines),
        reachable,
    )


def _take(session: Session, claimant: Claimant, now: datetime, row: Any) -> Claim:
    until = now + timedelta(seconds=claimant.lease_seconds)
    session.execute(
        update(_RUN)
        .where(_RUN.c.id == row.id)
        .values(fence=row.fence + 1, lease_owner=claimant.worker, lease_until=until),
    )
    return Claim(row.id, row.fence + 1, row.uuid)


def renew(session: Session, claimant: Claimant, claims: Collection[Claim], now: datetime) -> set[Claim]:
    """Extend the leases of ``claims``; return those that are lost."""
    until = now + timedelta(seconds=claimant.lease_seconds)
    return {
        claim
        for claim in sorted(claims, key=lambda claim: claim.run_id)
        if not session.execute(_owned(claim).values(lease_until=until)).rowcount  # type: ignore[attr-defined]
    }


def release(session: Session, claim: Claim, now: datetime, *, retry_after_seconds: float = 0) -> None:
    """Give the run back, for anybody to claim after ``retry_after_seconds``. Nothing happens when it is lost."""
    free = now + timedelta(seconds=retry_after_seconds)
    session.execute(_owned(claim).values(lease_owner=None, lease_until=free))


def write(session: Session, claim: Claim, values: Mapping[str, Any]) -> None:
    """Write columns of the run under its claim.

    Raises:
        LeaseLost: somebody else has claimed it since; the transaction must not be committed.
    """
    if not session.execute(_owned(claim).values(**values)).rowcount:  # type: ignore[attr-defined]
        raise LeaseLost(claim.run_id)


def advance(
    session: Session,
    claim: Claim,
    *,
    state: RunState,
    to: RunState,
    at: datetime,
    message: str | None = None,
    **values: Any,
) -> None:
    """Bring the run from ``state`` to ``to`` and write ``values`` with it, once.

    Raises:
        LeaseLost: the claim is lost, or the run is not in ``state`` any more.
        ValueError: there is no such transition.
    """
    if not may_advance(state, to):
        raise ValueError(f"a run does not go from {state} to {to}")
    statement = _owned(claim).where(_RUN.c.state == state.value)
    written = session.execute(statement.values(state=to.value, active=not to.is_terminal, **values))
    if not written.rowcount:  # type: ignore[attr-defined]
        raise LeaseLost(claim.run_id)
    events.add(session, claim.run_id, to.value, at, message)


def _owned(claim: Claim) -> Any:
    return update(_RUN).where(and_(_RUN.c.id == claim.run_id, _RUN.c.fence == claim.fence))


def run_row(session: Session, run_id: int) -> RunRow:
    """The row of a run but for its inputs and outputs, for who attends to it."""
    return cast("RunRow", _ROW.first(session, run_id=run_id))  # its columns, which nobody writes to


def inputs_of(session: Session, run_id: int) -> dict[str, Json]:
    """What a run was submitted with."""
    inputs: dict[str, Json] = session.execute(select(_RUN.c.inputs).where(_RUN.c.id == run_id)).scalar_one()
    return inputs
