"""Executions, as the API shows them."""

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from stemma.api.schemas.envelope import Answer, Shown
from stemma.api.schemas.replication import ReplicationShown
from stemma.file_fields import OCCURRENCE
from stemma.lifecycle.awaiting import Awaiting
from stemma.lifecycle.outputs import occurrence_of
from stemma.records import Json, RunEvent, RunSummary, StepKind, StepRecord
from stemma.states import RunState, StepState

_BYTES_IN_MB = 1_000_000


class ExecutionRequest(BaseModel):
    """What a JSON body asks to be run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: dict[str, Any] | None = Field(
        default=None, description="The input object; without it, that of the entry.", examples=[{"year": 2014}]
    )
    engine: str | None = Field(default=None, max_length=40, description="Which engine runs it.", examples=["cwltool"])
    revision: int | None = Field(default=None, ge=1, le=2**31 - 1, description="The newest without.", examples=[1])
    nowait: bool = Field(default=False, description="Answer at once, without the engine's ids.")


class SubmittedShown(Answer):
    """An execution that was just asked for."""

    execution_id: int = Field(examples=[12])
    reana_id: str | None = Field(
        description="The engine's own id of it; null while it has none yet.",
        examples=["0197f3a2-5c1e-7a3b-9d2f-6f0f5a1c2b3d/1"],
    )
    reana_name: str = Field(examples=["rain:1-0"])
    reana_run_number: int | None = Field(examples=[1])
    status: RunState = Field(examples=["queued"])

    @staticmethod
    def of(run: RunSummary) -> Shown:
        """What is shown of ``run``."""
        return {
            "execution_id": run.id,
            "reana_id": run.engine_run_id or run.reference,
            "reana_name": run.name,
            "reana_run_number": run.number,
            "status": run.state,
        }


class RunShown(SubmittedShown):
    """An execution."""

    registry_id: int = Field(examples=[7])
    revision: int = Field(description="The revision that it ran.", examples=[1])
    group: str = Field(examples=["group1"])
    engine: str = Field(examples=["cwltool"])
    start_time: datetime | None
    end_time: datetime | None
    submitted_at: datetime
    submitted_by: str = Field(examples=["user_1"])
    attempt: int = Field(description="How often it has been given to its engine.", examples=[1])
    reason: str | None = Field(description="Why it failed or was stopped.", examples=[None])
    captured: bool = Field(description="Whether its provenance was captured.", examples=[False])
    uuid: str = Field(examples=["0197f3a2-5c1e-7a3b-9d2f-6f0f5a1c2b3d"])

    @staticmethod
    def of(run: RunSummary) -> Shown:
        """What is shown of ``run``."""
        return _shown(run)


def _shown(run: RunSummary) -> Shown:
    return SubmittedShown.of(run) | {
        "registry_id": run.workflow_id,
        "revision": run.revision_number,
        "group": run.group,
        "engine": run.engine,
        "start_time": run.started_at,
        "end_time": run.ended_at,
        "submitted_at": run.submitted_at,
        "submitted_by": run.submitted_by.username,
        "attempt": run.attempt,
        "reason": run.reason,
        "captured": run.captured_at is not None,
        "uuid": run.uuid,
    }


class ResourceUsage(Answer):
    """What a step used; null where it was not measured."""

    cpu_time_seconds: float | None = Field(examples=[0.31])
    memory_peak_mb: float | None = Field(description="In millions of bytes.", examples=[24.6])
    disk_read_bytes: int | None = Field(examples=[4096])
    disk_write_bytes: int | None = Field(examples=[8192])


class StepRunShown(Answer):
    """One execution of a step."""

    step_id: str = Field(description="Its UUID.", examples=["0197f3a2-6b0d-7c11-8e55-1f6f5a1c2b3d"])
    name: str = Field(examples=["summarise"])
    key: str = Field(examples=["by_year[2]/summarise"], description="Unique in an attempt.")
    path: str = Field(examples=["by_year/summarise"], description="The step of the document.")
    kind: StepKind = Field(examples=["tool"])
    status: StepState = Field(examples=["finished"])
    start_time: datetime
    end_time: datetime | None
    exit_code: int | None = Field(examples=[0])
    command: str | None = Field(
        description="As it was run, in the form of a shell; null where there was none.",
        examples=["python3 summarise.py --year 2014"],
    )
    error_message: str | None = Field(examples=[None])
    resource_usage: ResourceUsage
    backend_job_id: str | None = Field(description="What the engine calls it.", examples=["4711"])
    attempt: int = Field(description="In which attempt of the execution.", examples=[1])
    parent: str | None = Field(description="The step of the sub-workflow that it belongs to.", examples=[None])
    scatter_index: list[int] = Field(description="Which of the step's scattered jobs it is.", examples=[[2]])
    image: str | None = Field(description="The container image, where it ran in one.", examples=["python:3.13-slim"])
    image_digest: str | None = Field(examples=[None])
    stdout_tail: str | None = Field(description="The last of what it wrote.", examples=[""])
    stderr_tail: str | None = Field(examples=["3 stations read"])

    @staticmethod
    def of(step: StepRecord) -> Shown:
        """What is shown of ``step``."""
        return {
            "step_id": step.uuid,
            "name": step.name,
            "key": step.key,
            "path": step.path,
            "kind": step.kind,
            "status": step.state,
            "start_time": step.started_at,
            "end_time": step.ended_at,
            "exit_code": step.exit_code,
            "command": _command_line(step.command),
            "error_message": step.error,
            "resource_usage": _usage(step),
            "backend_job_id": step.backend_job_id,
            "attempt": step.attempt,
            "parent": step.parent,
            "scatter_index": step.scatter_index,
            "image": step.image,
            "image_digest": step.image_digest,
            "stdout_tail": step.stdout_tail,
            "stderr_tail": step.stderr_tail,
        }


def _command_line(command: tuple[str, ...]) -> str | None:
    return shlex.join(command) if command else None


def _usage(step: StepRecord) -> Shown:
    peak = step.memory_peak_bytes
    return {
        "cpu_time_seconds": step.cpu_seconds,
        "memory_peak_mb": None if peak is None else peak / _BYTES_IN_MB,
        "disk_read_bytes": step.disk_read_bytes,
        "disk_write_bytes": step.disk_write_bytes,
    }


class RunDetails(RunShown):
    """An execution with its steps, inputs and outputs."""

    steps: list[StepRunShown] = Field(description="Of all attempts, by start.")
    inputs: dict[str, Any] = Field(
        description="The input object; each File has the ``id`` by which this service knows it.",
        examples=[{"year": 2014}],
    )
    outputs: dict[str, Any] | None = Field(
        description="The output object in the same form; null until finished.",
        examples=[{"summary": {"class": "File", "basename": "summary.csv", "size": 512, "id": 31}}],
    )
    replication: ReplicationShown | None = Field(
        description="What it needs from elsewhere and waits for; null where it needs nothing."
    )
    held_up: str | None = Field(
        description="Why nobody attends to it: its engine is not set up here any more, or does not work. Null else.",
        examples=[None],
    )

    @staticmethod
    def of_run(
        run: RunSummary,
        steps: tuple[StepRecord, ...],
        inputs: dict[str, Json],
        outputs: dict[str, Json] | None,
        *,
        awaiting: Awaiting | None = None,
        held_up: str | None = None,
    ) -> Shown:
        """What is shown of ``run`` with its steps; the objects are in the form of :func:`numbered`."""
        shown = _shown(run)
        shown |= {"steps": [StepRunShown.of(step) for step in steps], "inputs": inputs, "outputs": outputs}
        shown |= {"replication": None if awaiting is None else ReplicationShown.of(awaiting)}
        return shown | {"held_up": held_up}


def numbered(value: Json, numbers: Mapping[UUID, int]) -> Json:
    """``value`` with the number of each file in place of its inner identifier."""
    if isinstance(value, list):
        return [numbered(element, numbers) for element in value]
    if not isinstance(value, dict):
        return value
    shown = {key: numbered(element, numbers) for key, element in value.items() if key != OCCURRENCE}
    uuid = occurrence_of(value)
    if uuid is not None:
        shown["id"] = numbers.get(uuid)
    return shown


class EventShown(Answer):
    """A change of state of a run, or of one of its steps."""

    id: int = Field(description="To go on from, as ``Last-Event-ID``.", examples=[88])
    at: datetime
    status: RunState | StepState = Field(examples=["running"])
    step_id: str | None = Field(description="Null when the run itself changed.", examples=[None])
    step_key: str | None = Field(examples=[None])
    message: str | None = Field(examples=[None])

    @classmethod
    def of(cls, event: RunEvent) -> "EventShown":
        """What is shown of ``event``."""
        return cls(
            id=event.id,
            at=event.at,
            status=StepState(event.state) if event.step else RunState(event.state),
            step_id=str(event.step) if event.step else None,
            step_key=event.step_key,
            message=event.message,
        )


class LogShown(Answer):
    """What a step wrote."""

    step_id: str | None = Field(
        description="Null for what the run itself wrote.", examples=["0197f3a2-6b0d-7c11-8e55-1f6f5a1c2b3d"]
    )
    key: str | None = Field(examples=["by_year[2]/summarise"])
    status: RunState | StepState = Field(description="Of the step; of the run where that wrote.", examples=["finished"])
    stdout: str = Field(examples=[""])
    stderr: str = Field(examples=["3 stations read\n"])
    truncated: bool = Field(
        description="Whether only the last part is here; ``follow=true`` gives everything.", examples=[False]
    )


class LogsShown(Answer):
    """What a run and its steps wrote."""

    execution_id: int = Field(examples=[12])
    status: RunState = Field(examples=["finished"])
    logs: list[LogShown]


class DeletedShown(Answer):
    """The executions that are gone."""

    deleted: list[int] = Field(examples=[[12, 13]])
