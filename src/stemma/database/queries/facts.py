"""Writing down what an engine reported. Called in the transaction that also moves the run's cursor."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from stemma.cwl.arrivals import unknown_files, with_contents
from stemma.database.prepared import Prepared
from stemma.database.queries.insert import insert_rows
from stemma.database.queries.parts import parts_of
from stemma.database.tables import EventRow, OccurrenceRow, RunOutputRow, StepRow, StepWaitRow, UsageRow, table_of
from stemma.facts import Fact, FileSeen, FileUsed, StepEnded, StepStarted, StepWaits
from stemma.records import Content, Json, Occurrence, RunOutput, Usage
from stemma.states import StepState

_STEP = table_of(StepRow)
_IN_STATE = Prepared(
    select(_STEP.c.uuid, _STEP.c.step_key).where(
        _STEP.c.run_id == bindparam("run_id"),
        _STEP.c.attempt == bindparam("attempt"),
        _STEP.c.state == bindparam("state"),
    ),
)
_ENDING = (
    "state", "ended_at", "exit_code", "cpu_seconds", "memory_peak_bytes", "disk_read_bytes", "disk_write_bytes",
    "stdout_tail", "stderr_tail", "error", "reused_from",
)  # fmt: skip


def write(session: Session, run_id: int, attempt: int, facts: Sequence[Fact]) -> None:
    """Insert new steps, files and uses, and the endings of steps; each with its event."""
    started = {fact.uuid: fact for fact in facts if isinstance(fact, StepStarted)}
    ended = [fact for fact in facts if isinstance(fact, StepEnded)]
    at_once = {fact.uuid: fact for fact in ended if fact.uuid in started}
    rows = [_step(run_id, attempt, fact, at_once.get(fact.uuid)) for fact in started.values()]
    insert_rows(session, StepRow, rows)
    keys = {fact.uuid: fact.key for fact in started.values()}
    later = [fact for fact in ended if fact.uuid not in started]
    keys |= _end_steps(session, later)
    occurrences = [fact.occurrence for fact in facts if isinstance(fact, FileSeen)]
    add_occurrences(session, run_id, attempt, occurrences)
    insert_rows(session, UsageRow, [_usage(run_id, fact.usage) for fact in facts if isinstance(fact, FileUsed)])
    insert_rows(session, EventRow, [_event(run_id, fact, keys) for fact in facts if _is_change(fact)])
    waits = [fact for fact in facts if isinstance(fact, StepWaits)]
    insert_rows(session, StepWaitRow, [_wait(run_id, attempt, fact) for fact in waits])


def add_occurrences(session: Session, run_id: int, attempt: int, occurrences: Iterable[Occurrence]) -> None:
    """Insert files and directories."""
    rows = [
        {
            "uuid": item.uuid,
            "run_id": run_id,
            "attempt": attempt,
            "kind": item.kind.value,
            "basename": item.basename,
            "port": item.port,
            "position": item.position,
            "sha256": item.content.sha256 if item.content else None,
            "size_bytes": item.content.size_bytes if item.content else None,
            "step": item.step,
            "parent": item.parent,
            "derived_from": [str(source) for source in item.derived_from],
            "at": item.at,
        }
        for item in occurrences
    ]
    insert_rows(session, OccurrenceRow, rows)


def add_outputs(session: Session, run_id: int, outputs: Iterable[RunOutput]) -> None:
    """Insert which occurrences are outputs of the run."""
    rows = [
        {"run_id": run_id, "occurrence": item.occurrence, "port": item.port, "position": item.position}
        for item in outputs
    ]
    insert_rows(session, RunOutputRow, rows)


def close_open_steps(
    session: Session, run_id: int, attempt: int, *, state: StepState, error: str, at: datetime
) -> None:
    """End the steps of an attempt that were still running when it ended."""
    running = StepState.RUNNING.value
    open_steps = _IN_STATE.rows(session, run_id=run_id, attempt=attempt, state=running)
    if not open_steps:
        return
    session.execute(
        update(_STEP)
        .where(_STEP.c.uuid.in_([uuid for uuid, _ in open_steps]))
        .values(state=state.value, ended_at=at, error=error),
    )
    rows = [_event_row(run_id, at, uuid, key, state=state.value, message=error) for uuid, key in open_steps]
    insert_rows(session, EventRow, rows)


def contents_of(session: Session, run_id: int, occurrences: Sequence[UUID]) -> dict[UUID, Content]:
    """The contents of files of a run, as recorded when they were generated."""
    found: dict[UUID, Content] = {}
    for part in parts_of(occurrences):
        query = select(col(OccurrenceRow.uuid), col(OccurrenceRow.sha256), col(OccurrenceRow.size_bytes)).where(
            col(OccurrenceRow.run_id) == run_id,
            col(OccurrenceRow.uuid).in_(part),
        )
        found |= {uuid: Content(sha256, size) for uuid, sha256, size in session.execute(query) if sha256}
    return found


def inputs_by_now(session: Session, run_id: int, inputs: dict[str, Json]) -> dict[str, Json]:
    """The input object with what its files from elsewhere have turned out to be by now."""
    unknown = unknown_files(inputs)
    return with_contents(inputs, contents_of(session, run_id, unknown)) if unknown else inputs


def _wait(run_id: int, attempt: int, fact: StepWaits) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "attempt": attempt,
        "step_key": fact.key,
        "path": fact.path,
        "occurrences": [str(uuid) for uuid in fact.occurrences],
        "at": fact.at,
    }


def _step(run_id: int, attempt: int, fact: StepStarted, ended: StepEnded | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "uuid": fact.uuid,
        "run_id": run_id,
        "attempt": attempt,
        "step_key": fact.key,
        "path": fact.path,
        "kind": fact.kind.value,
        "started_at": fact.at,
        "parent": fact.parent,
        "scatter_index": list(fact.scatter_index),
        "command": list(fact.command),
        "image": fact.image,
        "image_digest": fact.image_digest,
        "literals": fact.literals,
        "backend_job_id": fact.backend_job_id,
    }
    if ended is None:
        return row | dict.fromkeys(_ENDING) | {"state": StepState.RUNNING.value}
    row["command"] = row["command"] or list(ended.command)
    row["image_digest"] = row["image_digest"] or ended.image_digest
    return row | _ending(ended)


def _ending(fact: StepEnded) -> dict[str, Any]:
    return {
        "state": fact.state.value,
        "ended_at": fact.at,
        "exit_code": fact.exit_code,
        "cpu_seconds": fact.cpu_seconds,
        "memory_peak_bytes": fact.memory_peak_bytes,
        "disk_read_bytes": fact.disk_read_bytes,
        "disk_write_bytes": fact.disk_write_bytes,
        "stdout_tail": fact.stdout_tail,
        "stderr_tail": fact.stderr_tail,
        "error": fact.error,
        "reused_from": fact.reused_from,
    }


def _end_steps(session: Session, facts: Sequence[StepEnded]) -> dict[UUID, str]:
    """Write the endings of steps that were inserted earlier; return the keys of those steps."""
    if not facts:
        return {}
    late = [fact for fact in facts if fact.command or fact.image_digest]
    if late:
        statement = (
            update(_STEP)
            .where(_STEP.c.uuid == bindparam("key"))
            .values(command=bindparam("new_command"), image_digest=bindparam("new_digest"))
        )
        session.connection().execute(
            statement,
            [{"key": fact.uuid, "new_command": list(fact.command), "new_digest": fact.image_digest} for fact in late],
        )
    statement = update(_STEP).where(_STEP.c.uuid == bindparam("key"))
    statement = statement.values({name: bindparam(f"new_{name}") for name in _ENDING})
    rows = [{"key": fact.uuid} | {f"new_{name}": value for name, value in _ending(fact).items()} for fact in facts]
    session.connection().execute(statement, rows)
    query = select(col(StepRow.uuid), col(StepRow.step_key)).where(col(StepRow.uuid).in_([f.uuid for f in facts]))
    return dict(session.execute(query).all())


def _usage(run_id: int, usage: Usage) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "step": usage.step,
        "occurrence": usage.occurrence,
        "port": usage.port,
        "position": usage.position,
    }


def _is_change(fact: Fact) -> bool:
    return isinstance(fact, StepStarted | StepEnded)


def _event(run_id: int, fact: Fact, keys: dict[UUID, str]) -> dict[str, Any]:
    if isinstance(fact, StepStarted):
        return _event_row(run_id, fact.at, fact.uuid, fact.key, state=StepState.RUNNING.value, message=None)
    if isinstance(fact, StepEnded):
        return _event_row(run_id, fact.at, fact.uuid, keys.get(fact.uuid), state=fact.state.value, message=fact.error)
    raise TypeError(f"{fact!r} is no change of state")


def _event_row(
    run_id: int, at: datetime, step: UUID, key: str | None, *, state: str, message: str | None
) -> dict[str, Any]:
    return {"run_id": run_id, "at": at, "step": step, "step_key": key, "state": state, "message": message}
