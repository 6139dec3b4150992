"""Ending runs early, and deleting ended ones."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from sqlmodel import Session

from stemma import clock
from stemma.auth.principal import Principal
from stemma.database.queries import people, runs
from stemma.engines.protocol import Owner
from stemma.errors import EngineUnreachable, RunEnded, RunNotFound, Unavailable, UnknownEngine
from stemma.lifecycle import audit
from stemma.lifecycle.acting import engine_for
from stemma.lifecycle.audit import Deed
from stemma.lifecycle.engines import held_up
from stemma.lifecycle.installation import Installation
from stemma.records import RunSummary
from stemma.wake import wake_workers

STOP_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_ROOM: Final = threading.BoundedSemaphore(4)
"""Bounds the threads that wait for runs to end, so that other requests go on."""


class TooManyDeletions(Unavailable):
    """As many deletions as may be wait for runs to end."""

    code = "too-many-deletions"

    def __init__(self, run_id: int) -> None:
        super().__init__(
            f"execution {run_id} still goes on and was not asked to stop: many are being stopped and deleted at the "
            "moment; try again in some seconds, or stop it first"
        )
        self.run_id = run_id


def stop(installation: Installation, principal: Principal, run_id: int) -> RunSummary:
    """Ask for a run to be stopped; its worker does it, normally within two seconds.

    Raises:
        RunNotFound: no such run for ``principal``.
        RunEnded: it has ended already.
    """

    def write(session: Session) -> RunSummary:
        run = runs.get(session, run_id, principal.groups)
        if run.state.is_terminal:
            raise RunEnded(run_id, run.state.value)
        now = clock.now()
        people.remember(session, principal.person, now)
        runs.request_stop(session, run_id, principal.person, now)
        audit.record(session, principal, Deed.STOP, run_id, group=run.group, now=now)
        return runs.get(session, run_id, principal.groups)

    run = installation.database.write(write)
    wake_workers(installation.settings.home)
    return run


def delete(installation: Installation, principal: Principal, run_ids: Sequence[int]) -> None:
    """Delete runs, stopping first those that still go on. Records that were captured stay.

    Raises:
        RunNotFound: one does not exist for ``principal``; those before it are deleted.
        EngineUnreachable, EngineRefused: one could not be stopped in time, or an engine elsewhere does not let what it
            keeps of it be removed; it is left as it is.
        TooManyDeletions: one still goes on, and as many deletions as may be wait for theirs; it and those behind it
            are left as they are.
    """
    for run_id in run_ids:
        _delete_one(installation, principal, run_id)
    wake_workers(installation.settings.home)


def _delete_one(installation: Installation, principal: Principal, run_id: int) -> None:
    with installation.database.reading() as session:
        run = runs.get(session, run_id, principal.groups)
    if not run.state.is_terminal:
        with _room(run_id):
            with contextlib.suppress(RunEnded):  # it ended between our look and our asking
                stop(installation, principal, run_id)
            _await_end(installation, principal, run)
    _delete_elsewhere(installation, run)

    def write(session: Session) -> None:
        found = runs.get(session, run_id, principal.groups)
        now = clock.now()
        if not runs.mark_deleted(session, run_id, now):
            raise RunNotFound(run_id)
        audit.record(session, principal, Deed.DELETE, run_id, group=found.group, now=now)

    installation.database.write(write)


def _delete_elsewhere(installation: Installation, run: RunSummary) -> None:
    """Remove what an engine elsewhere keeps of a run: it may refuse, and then nothing is removed here.

    What is kept here a worker removes, and what an engine had that is not set up any more nobody can.
    """
    with contextlib.suppress(UnknownEngine):
        engine = engine_for(installation.engines, run.engine, Owner(run.submitted_by.subject, run.group))
        if engine.is_remote and run.attempt:
            engine.delete(run.reference or f"{run.uuid}/{run.attempt}")


@contextlib.contextmanager
def _room(run_id: int) -> Iterator[None]:
    """Room to wait for a run.

    Raises:
        TooManyDeletions: there is none.
    """
    if not _ROOM.acquire(blocking=False):
        raise TooManyDeletions(run_id)
    try:
        yield
    finally:
        _ROOM.release()


def _await_end(installation: Installation, principal: Principal, run: RunSummary) -> None:
    with installation.database.reading() as session:
        now = runs.get(session, run.id, principal.groups)
    reason = held_up(installation.engines, now)
    if reason is not None:
        raise EngineUnreachable(run.engine, f"execution {run.id} cannot be stopped: {reason}")
    deadline = time.monotonic() + STOP_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with installation.database.reading() as session:
            if runs.get(session, run.id, principal.groups).state.is_terminal:
                return
        time.sleep(_LOOK_SECONDS)
    raise EngineUnreachable(run.engine, f"execution {run.id} could not be stopped within {STOP_PATIENCE_SECONDS:.0f} s")
