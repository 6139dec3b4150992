"""Reading back what was recorded: steps, files, and whole runs."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, case, exists, or_, select
from sqlmodel import Session, col

from stemma.database.prepared import Prepared
from stemma.database.queries import facts, workflows
from stemma.database.queries.parts import parts_of
from stemma.database.queries.replicas import NeedState, ReplicaState
from stemma.database.tables import (
    AttemptRow,
    CaptureRow,
    OccurrenceRow,
    PersonRow,
    ReplicaRow,
    ReplicationRow,
    RunOutputRow,
    RunRow,
    StepRow,
    StepWaitRow,
    UsageRow,
    table_of,
)
from stemma.errors import RunNotFound
from stemma.records import (
    AttemptRecord,
    Content,
    FileKind,
    Occurrence,
    Person,
    ReplicationRecord,
    RunOutput,
    RunRecord,
    StepKind,
    StepRecord,
    StepWaitRecord,
    Usage,
)
from stemma.states import RunState, StepState

_STEP, _OCCURRENCE = table_of(StepRow), table_of(OccurrenceRow)
_STEPS_OF_RUN = select(_STEP).where(_STEP.c.run_id == bindparam("run_id")).order_by(_STEP.c.started_at, _STEP.c.id)
_STEPS = Prepared(_STEPS_OF_RUN)
_STEPS_OF_ATTEMPT = Prepared(_STEPS_OF_RUN.where(_STEP.c.attempt == bindparam("attempt")))
_NUMBERS = Prepared(
    select(_OCCURRENCE.c.uuid, _OCCURRENCE.c.id).where(
        _OCCURRENCE.c.run_id == bindparam("run_id"),
        _OCCURRENCE.c.uuid.in_(bindparam("uuids", expanding=True)),
    ),
)


def visible_run(session: Session, run_id: int, groups: Collection[str]) -> RunRecord:
    """Everything recorded of a run; of a deleted one where it was captured.

    Raises:
        RunNotFound: there is none of this id in ``groups``.
    """
    captured = exists().where(col(CaptureRow.run_id) == col(RunRow.id))
    query = select(RunRow).where(
        col(RunRow.id) == run_id,
        col(RunRow.group_name).in_(groups),
        or_(col(RunRow.deleted_at).is_(None), captured),
    )
    row = session.execute(query).scalar()
    if row is None:
        raise RunNotFound(run_id)
    return _record(session, row)


def run(session: Session, run_id: int) -> RunRecord:
    """Everything recorded of a run, whosever it is: for the service's own work."""
    return _record(session, session.execute(select(RunRow).where(col(RunRow.id) == run_id)).scalar_one())


def _record(session: Session, row: RunRow) -> RunRecord:
    run_id = row.id or 0
    person = session.execute(select(PersonRow).where(col(PersonRow.subject) == row.submitted_by)).scalar_one()
    captured_at = session.execute(select(col(CaptureRow.captured_at)).where(col(CaptureRow.run_id) == run_id)).scalar()
    return RunRecord(
        id=run_id,
        uuid=row.uuid,
        group=row.group_name,
        engine=row.engine,
        engine_version=row.engine_version,
        name=row.name,
        number=(row.number if row.engine_run_number is None else row.engine_run_number) or 0,
        state=RunState(row.state),
        submitted_by=Person(person.subject, person.username),
        submitted_at=row.submitted_at,
        revision=workflows.revision_by_id(session, row.revision_id),
        started_at=row.started_at,
        ended_at=row.ended_at,
        reason=row.reason,
        inputs=facts.inputs_by_now(session, run_id, row.inputs),
        outputs=row.outputs,
        attempts=attempts(session, run_id),
        steps=steps(session, run_id),
        occurrences=occurrences(session, run_id),
        usages=_usages(session, run_id),
        run_outputs=run_outputs(session, run_id),
        replications=replications(session, run_id),
        waits=waits(session, run_id),
        captured_at=captured_at,
        deleted_at=row.deleted_at,
    )


def attempts(session: Session, run_id: int) -> tuple[AttemptRecord, ...]:
    """The attempts at a run, first to last."""
    query = select(AttemptRow).where(col(AttemptRow.run_id) == run_id).order_by(col(AttemptRow.number))
    return tuple(
        AttemptRecord(
            number=row.number,
            uuid=row.uuid,
            worker=row.worker,
            started_at=row.started_at,
            ended_at=row.ended_at,
            outcome=row.outcome,
            reason=row.reason,
            environment=row.environment,
        )
        for row in session.execute(query).scalars()
    )


def steps(session: Session, run_id: int, *, attempt: int | None = None) -> tuple[StepRecord, ...]:
    """The step executions of a run, by start; of one attempt or of all."""
    if attempt is None:
        return tuple(map(_step, _STEPS.rows(session, run_id=run_id)))
    return tuple(map(_step, _STEPS_OF_ATTEMPT.rows(session, run_id=run_id, attempt=attempt)))


def step(session: Session, run_id: int, name: str) -> StepRecord | None:
    """The newest execution whose uuid, number, key or path is ``name``."""
    matching = [
        record
        for record in steps(session, run_id)
        if name in {str(record.uuid), str(record.id), record.key, record.path}
    ]
    return matching[-1] if matching else None


def occurrences(session: Session, run_id: int) -> tuple[Occurrence, ...]:
    """The files and directories of a run, in the order of being recorded."""
    query = select(_OCCURRENCE).where(_OCCURRENCE.c.run_id == run_id).order_by(_OCCURRENCE.c.id)
    return tuple(_occurrence(row) for row in session.execute(query))


def numbers_of(session: Session, run_id: int, uuids: Sequence[UUID]) -> dict[UUID, int]:
    """The numbers of a run's occurrences in this service, by which files are asked for."""
    found: dict[UUID, int] = {}
    for part in parts_of(uuids):
        found |= {row.uuid: row.id for row in _NUMBERS.rows(session, run_id=run_id, uuids=list(part))}
    return found


def run_outputs(session: Session, run_id: int) -> tuple[RunOutput, ...]:
    """Which occurrences are outputs of the run."""
    table = table_of(RunOutputRow)
    query = select(table).where(table.c.run_id == run_id).order_by(table.c.id)
    return tuple(RunOutput(row.occurrence, row.port, row.position) for row in session.execute(query))


def replications(session: Session, run_id: int) -> tuple[ReplicationRecord, ...]:
    """What was brought for a run from elsewhere, in the order of being asked for."""
    table, copies = table_of(ReplicationRow), table_of(ReplicaRow)
    moving = case((copies.c.state == ReplicaState.MOVING.value, copies.c.started_at), else_=None)
    query = (
        select(table, moving.label("moving_since"))
        .join(copies, copies.c.id == table.c.replica_id)
        .where(table.c.run_id == run_id)
        .order_by(table.c.id)
    )
    return tuple(
        ReplicationRecord(
            uuid=row.uuid,
            occurrence=row.occurrence,
            source=row.source,
            requested_at=row.requested_at,
            started_at=row.started_at or row.moving_since,
            arrived_at=row.arrived_at,
            was_here=bool(row.was_here),
            is_handed=row.state == NeedState.HANDED.value,
            times=row.times,
            moved_bytes=row.moved_bytes,
            sha256=row.sha256,
            verified=row.verified,
            error=row.error,
        )
        for row in session.execute(query)
    )


def waits(session: Session, run_id: int) -> tuple[StepWaitRecord, ...]:
    """Which step executions of a run waited for which files."""
    table = table_of(StepWaitRow)
    query = select(table).where(table.c.run_id == run_id).order_by(table.c.id)
    return tuple(
        StepWaitRecord(row.attempt, row.step_key, row.path, tuple(map(UUID, row.occurrences)), row.at)
        for row in session.execute(query)
    )


def _usages(session: Session, run_id: int) -> tuple[Usage, ...]:
    table = table_of(UsageRow)
    query = select(table).where(table.c.run_id == run_id).order_by(table.c.id)
    return tuple(Usage(row.step, row.occurrence, row.port, row.position) for row in session.execute(query))


def _step(row: Any) -> StepRecord:
    return StepRecord(
        uuid=row.uuid,
        attempt=row.attempt,
        key=row.step_key,
        path=row.path,
        kind=StepKind(row.kind),
        state=StepState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
        parent=row.parent,
        scatter_index=tuple(row.scatter_index),
        command=tuple(row.command),
        exit_code=row.exit_code,
        image=row.image,
        image_digest=row.image_digest,
        cpu_seconds=row.cpu_seconds,
        memory_peak_bytes=row.memory_peak_bytes,
        disk_read_bytes=row.disk_read_bytes,
        disk_write_bytes=row.disk_write_bytes,
        stdout_tail=row.stdout_tail,
        stderr_tail=row.stderr_tail,
        error=row.error,
        literals=row.literals,
        reused_from=row.reused_from,
        backend_job_id=row.backend_job_id,
        id=row.id,
    )


def _occurrence(row: Any) -> Occurrence:
    return Occurrence(
        uuid=row.uuid,
        kind=FileKind(row.kind),
        basename=row.basename,
        port=row.port,
        position=row.position,
        content=Content(row.sha256, row.size_bytes) if row.sha256 else None,
        step=row.step,
        parent=row.parent,
        derived_from=tuple(UUID(source) for source in row.derived_from),
        at=row.at,
        attempt=row.attempt,
        id=row.id,
    )
