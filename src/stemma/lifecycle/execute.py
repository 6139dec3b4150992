"""Station *execute*: bring a claimed run one step further. Whatever is interrupted here, the next call goes on.

What has an effect outside the database is idempotent (``Engine.submit``, taking files into the store) and comes
before the transaction that records it; what is recorded is recorded once, under the claim's fence.
"""

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from stemma import clock
from stemma.database.queries import attempts, deliveries, facts, queue, workflows
from stemma.database.tables import RunRow
from stemma.engines.protocol import Engine, Job, JobState, Owner, Report
from stemma.errors import (
    ContentMissing,
    CredentialUnreadable,
    EngineRefused,
    EngineUnreachable,
    LeaseLost,
    StemmaError,
    Unavailable,
)
from stemma.lifecycle.acting import engine_for
from stemma.lifecycle.installation import Installation
from stemma.lifecycle.outputs import are_elsewhere, occurrences_in, recorded_form, take_outputs
from stemma.lifecycle.replicate.delivery import deliver, given, here_for
from stemma.lifecycle.replicate.guard import giving_out
from stemma.lifecycle.replicate.handing import NotSigned, handed_over, take_back
from stemma.lifecycle.staging import staged_inputs
from stemma.records import AttemptRecord, Claim, Json
from stemma.states import RunState, StepState

_ENDINGS = {
    JobState.FINISHED: (RunState.FINISHED, StepState.FINISHED),
    JobState.FAILED: (RunState.FAILED, StepState.FAILED),
    JobState.STOPPED: (RunState.STOPPED, StepState.STOPPED),
    JobState.LOST: (RunState.FAILED, StepState.FAILED),
}
_LAST_TRY = timedelta(seconds=6), timedelta(seconds=10)
"""When somebody still waits for the first word on a run, and an engine that did not answer so far has had its tries."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What an attention brought."""

    done: bool = False
    """Nothing is left to do for this run."""
    news: bool = False
    """Something was new; there may be more at once."""
    carries: bool = False
    """What comes next may bring files to an engine elsewhere, or back, which takes as long as it takes."""


def attend(installation: Installation, worker: str, claim: Claim, *, may_carry: bool = True) -> Progress:
    """Advance the run of ``claim`` as far as it goes without waiting; and without carrying files, unless it ``may``.

    Raises:
        LeaseLost: somebody else has it now.
        Unavailable: the database or the engine does not answer; call again later.
    """
    row = _held_row(installation, claim)
    engine = _engine_of(installation, row)
    match RunState(row.state):
        case RunState.DELETED:
            return _clean_up(installation, engine, claim, row)
        case RunState.CREATED | RunState.QUEUED:
            return _begin(installation, engine, worker, claim, row)
        case RunState.PENDING | RunState.RUNNING if row.reference is None:
            return _submit(installation, engine, claim, row, may_carry=may_carry)
        case RunState.PENDING | RunState.RUNNING:
            return _follow(installation, engine, worker, claim, row=row, may_carry=may_carry)
        case _:
            return Progress(done=True)


def fail(installation: Installation, claim: Claim, reason: str) -> None:
    """End the run as failed because it cannot go on here, and what its engine does for it.

    Raises:
        LeaseLost: somebody else has it now.
        Unavailable: the database or the engine does not answer; call again later.
    """
    row = _held_row(installation, claim)
    reference = _reference_of(_engine_of(installation, row), row)
    if reference is not None:
        # One that does not let us will not let us later either: the run ends here, and its reason says why.
        with contextlib.suppress(EngineRefused, CredentialUnreadable):
            _engine_of(installation, row).stop(reference)

    def write(session: Session) -> None:
        row = queue.run_row(session, claim.run_id)
        if not RunState(row.state).is_terminal:
            report = Report(state=JobState.FAILED, cursor=row.journal_cursor, reason=reason)
            _end(session, claim, row, report, outputs=None)
        else:
            queue.write(session, claim, {"active": False})

    installation.database.write(write)


def _engine_of(installation: Installation, row: RunRow) -> Engine:
    return engine_for(installation.engines, row.engine, _owner_of(row))


def _reference_of(engine: Engine, row: RunRow) -> str | None:
    """Where the engine finds the attempt; something of one may be elsewhere before its submission was complete."""
    if row.reference is None and engine.is_remote and row.attempt:
        return f"{row.uuid}/{row.attempt}"
    return row.reference


def _owner_of(row: RunRow) -> Owner:
    return Owner(row.submitted_by, row.group_name)


def _held_row(installation: Installation, claim: Claim) -> RunRow:
    """The run as it stands, if ``claim`` still holds."""
    with installation.database.reading() as session:
        row = queue.run_row(session, claim.run_id)
    if row.fence != claim.fence:
        raise LeaseLost(claim.run_id)
    return row


def _begin(installation: Installation, engine: Engine, worker: str, claim: Claim, row: RunRow) -> Progress:
    """Open the first attempt, or stop what was stopped before it began."""
    now = clock.now()
    if row.stop_requested_at is not None:
        return _stopped_before(installation, claim, row)

    def write(session: Session) -> None:
        _open_attempt(session, installation, worker, claim, number=1, now=now)
        queue.advance(
            session,
            claim,
            state=RunState(row.state),
            to=RunState.PENDING,
            at=now,
            engine_version=engine.describe().version,
        )

    installation.database.write(write)
    return Progress(news=True, carries=engine.is_remote)


def _open_attempt(
    session: Session, installation: Installation, worker: str, claim: Claim, *, number: int, now: datetime
) -> None:
    attempts.add(session, claim.run_id, AttemptRecord(number, clock.new_uuid(), worker, now))
    queue.write(
        session,
        claim,
        {
            "attempt": number,
            "reference": None,
            "journal_cursor": "",
            "home": installation.home_id,
            "engine_run_id": None,
            "engine_run_name": None,
            "engine_run_number": None,
        },
    )


def _submit(installation: Installation, engine: Engine, claim: Claim, row: RunRow, *, may_carry: bool) -> Progress:
    """Give the attempt to the engine. Done twice, it starts once."""
    with installation.database.reading() as session:
        revision = workflows.revision_by_id(session, row.revision_id)
        inputs = queue.inputs_of(session, claim.run_id)
    missing = next((file for file in revision.files if not installation.store.has(file.content.sha256)), None)
    if missing is not None:
        raise ContentMissing(missing.content.sha256)
    with giving_out(installation.settings.home):
        here = here_for(installation, engine, claim, revision, inputs)
        if here is None:  # an engine that wants all of them first
            return _stopped_before(installation, claim, row) if row.stop_requested_at is not None else Progress()
        if here:
            installation.database.write(lambda session: given(session, claim, here))
    handed = handed_over(installation, engine, claim.run_id)
    job = Job(
        run_uuid=row.uuid,
        attempt=row.attempt,
        name=row.name,
        revision=revision,
        inputs=staged_inputs(inputs, installation.store, here, handed.occurrences),
        url_of=handed.url_of,
        containers=row.containers,
        time_limit_seconds=row.time_limit_seconds,
        owner=_owner_of(row),
    )
    if row.stop_requested_at is not None and _is_untouched(engine, job):
        return _stopped_before(installation, claim, row)
    if engine.is_remote and not may_carry:
        return Progress(carries=True)
    try:
        reference = engine.submit(job)
    except NotSigned:
        take_back(installation, claim.run_id)
        return Progress(news=True)
    except EngineUnreachable as error:
        if _is_hopeless(engine, job, row):
            raise EngineRefused(engine.name, error.reason) from error
        raise
    # What it is called there belongs to the first word on a run, so that nobody is told another name first.
    named: dict[str, Any] = {}
    if engine.is_remote:
        named = _identity(row, engine.report(reference, "")) | {"engine_version": engine.describe().version}
    installation.database.write(lambda session: queue.write(session, claim, {"reference": reference, **named}))
    return Progress(news=True)


def _stopped_before(installation: Installation, claim: Claim, row: RunRow) -> Progress:
    """End a run of which nothing was begun."""
    stopped = Report(state=JobState.STOPPED, cursor="", reason="stopped before it started", ended_at=clock.now())
    installation.database.write(lambda session: _end(session, claim, row, stopped, outputs=None))
    return Progress(done=True)


def _is_hopeless(engine: Engine, job: Job, row: RunRow) -> bool:
    """Whether an engine elsewhere that does not answer is given up: somebody waits for its word, it has had its tries,
    and nothing of the run can be there. A run that may be there, or that waited in the queue, is tried for ever."""
    earliest, latest = _LAST_TRY
    return _is_untouched(engine, job) and earliest <= clock.now() - row.submitted_at <= latest


def _is_untouched(engine: Engine, job: Job) -> bool:
    """Whether it is known that nothing of ``job`` came to the engine."""
    has_begun = getattr(engine, "has_begun", None)
    return has_begun is not None and not has_begun(job)


def _follow(
    installation: Installation, engine: Engine, worker: str, claim: Claim, *, row: RunRow, may_carry: bool
) -> Progress:
    """Write down what is new of a run that its engine has."""
    reference = row.reference or ""
    if row.stop_requested_at is not None:
        engine.stop(reference)
    else:
        deliver(installation, engine, claim, row)
    report = engine.report(reference, row.journal_cursor)
    if report.state is JobState.STOPPED and row.stop_requested_at is None and not engine.is_remote:
        # A machine that goes down, say, or a worker that died after clearing up what a lost attempt had left.
        report = replace(report, state=JobState.LOST, reason="its process was ended from outside")
    if not report.state.is_terminal:
        return _note(installation, claim, row, report)
    if report.state is JobState.LOST and engine.is_remote:  # it may go on there: no second one must run beside it
        report = replace(report, state=JobState.FAILED)
    if report.state is JobState.LOST and _may_try_again(installation, row):
        return _try_again(installation, engine, worker, claim, row=row, report=report)
    may_carry = may_carry or not engine.is_remote
    if report.state is JobState.FINISHED and not may_carry and are_elsewhere(engine, reference):
        return Progress(carries=True)
    return _conclude(installation, engine, claim, row, report)


def _note(installation: Installation, claim: Claim, row: RunRow, report: Report) -> Progress:
    begins = report.state is JobState.RUNNING and row.state == RunState.PENDING.value
    if not (begins or report.facts or report.cursor != row.journal_cursor or _identity(row, report)):
        return Progress()

    def write(session: Session) -> None:
        _record(session, claim, row, report)
        if begins:
            _begin_running(session, claim, row, report)

    installation.database.write(write)
    return Progress(news=True)


def _record(session: Session, claim: Claim, row: RunRow, report: Report) -> None:
    """The facts of a report and the cursor behind them, together or not at all."""
    queue.write(session, claim, {"journal_cursor": report.cursor, **_identity(row, report)})
    facts.write(session, claim.run_id, row.attempt, report.facts)
    if report.environment is not None:
        attempts.set_environment(session, claim.run_id, row.attempt, report.environment)


def _identity(row: RunRow, report: Report) -> dict[str, Any]:
    """What the engine calls the run, where that is news."""
    given = report.identity
    if given is None:
        return {}
    named = {"engine_run_id": given.id, "engine_run_name": given.name, "engine_run_number": given.number}
    return {column: value for column, value in named.items() if getattr(row, column) != value}


def _begin_running(session: Session, claim: Claim, row: RunRow, report: Report) -> None:
    at = report.started_at or clock.now()
    queue.advance(session, claim, state=RunState.PENDING, to=RunState.RUNNING, at=at, started_at=row.started_at or at)


def _may_try_again(installation: Installation, row: RunRow) -> bool:
    return row.stop_requested_at is None and row.attempt < installation.settings.max_attempts


def _try_again(
    installation: Installation, engine: Engine, worker: str, claim: Claim, *, row: RunRow, report: Report
) -> Progress:
    """Close the attempt that was lost and open the next."""
    engine.stop(row.reference or "")  # what its process left running
    engine.release(row.reference or "")  # nobody comes back to it
    now = clock.now()

    def write(session: Session) -> None:
        _record(session, claim, row, report)
        _close_attempt(session, claim, row, report, now)
        if row.state == RunState.RUNNING.value:
            message = f"attempt {row.attempt} was lost ({report.reason}); trying again"
            queue.advance(session, claim, state=RunState.RUNNING, to=RunState.PENDING, at=now, message=message)
        deliveries.untell(session, claim.run_id)
        _open_attempt(session, installation, worker, claim, number=row.attempt + 1, now=now)

    installation.database.write(write)
    return Progress(news=True)


def _conclude(installation: Installation, engine: Engine, claim: Claim, row: RunRow, report: Report) -> Progress:
    """Bring in what a job left and end the run."""
    reference = row.reference or ""
    outputs: dict[str, Json] | None = None
    if report.state is JobState.FINISHED:
        try:
            take_outputs(installation, engine, claim.run_id, reference, report)
            outputs = recorded_form(report.outputs or {})
        except StemmaError as error:
            if isinstance(error, Unavailable):  # worth waiting for, so not the run's end
                raise
            report = replace(report, state=JobState.FAILED, reason=f"its outputs could not be kept: {error}")

    def write(session: Session) -> None:
        _record(session, claim, row, report)
        _end(session, claim, row, report, outputs=outputs)

    # Before the end is written, so that a worker that dies in between leaves nothing lying about: the outputs are in
    # the store by now, and the next worker finds them there.
    engine.release(reference)
    installation.database.write(write)
    return Progress(done=True)


def _end(session: Session, claim: Claim, row: RunRow, report: Report, *, outputs: dict[str, Json] | None) -> None:
    """The run's one and only end."""
    at = report.ended_at or clock.now()
    state, _ = _ENDINGS[report.state]
    if row.stop_requested_at is not None and report.state is JobState.LOST:
        state = RunState.STOPPED
    reason = _reason(row, report)
    current = RunState(row.state)
    if state is RunState.FINISHED and current is RunState.PENDING:  # it was quicker than our looking
        _begin_running(session, claim, row, report)
        current = RunState.RUNNING
    _close_attempt(session, claim, row, report, at)
    if outputs is not None:
        facts.add_outputs(session, claim.run_id, occurrences_in(outputs))
    started_at = row.started_at or report.started_at
    queue.advance(
        session,
        claim,
        state=current,
        to=state,
        at=at,
        message=reason,
        ended_at=at,
        started_at=started_at,
        reason=reason,
        outputs=outputs,
    )


def _reason(row: RunRow, report: Report) -> str | None:
    if report.state is JobState.FINISHED:
        return None
    if report.state is JobState.LOST and row.stop_requested_at is None:
        return f"its process died in each of {row.attempt} attempts; the last time: {report.reason}"
    return report.reason


def _close_attempt(session: Session, claim: Claim, row: RunRow, report: Report, at: datetime) -> None:
    if row.attempt == 0:
        return
    _, step_state = _ENDINGS[report.state]
    error = report.reason or f"the run was {report.state}"
    facts.close_open_steps(session, claim.run_id, row.attempt, state=step_state, error=error, at=at)
    attempts.close(session, claim.run_id, row.attempt, outcome=report.state.value, reason=report.reason, at=at)


def _clean_up(installation: Installation, engine: Engine, claim: Claim, row: RunRow) -> Progress:
    """Remove what the engine keeps of a deleted run."""
    reference = _reference_of(engine, row)
    if reference is not None:
        engine.delete(reference)
    installation.database.write(lambda session: queue.write(session, claim, {"active": False}))
    return Progress(done=True)
