"""What a REANA server answers, checked: nothing that it sends is believed before it has the form that it should have.

Its times have no zone. They are taken as UTC, which REANA's images keep, and brought to our clock where the server's is
found to differ (``ReanaServer.clock_ahead``).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from stemma.engines.protocol import EngineIdentity
from stemma.engines.reana import faults


class RunState(StrEnum):
    """REANA's words for where a run is."""

    CREATED = "created"
    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    DELETED = "deleted"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self not in GOING_ON


GOING_ON: Final = frozenset({RunState.CREATED, RunState.QUEUED, RunState.PENDING, RunState.RUNNING})


@dataclass(frozen=True, slots=True)
class Progress:
    """The jobs of a run, by their ids."""

    total: int | None
    """What REANA expects, where it knows; it is not the number of jobs."""
    begun: frozenset[str] = frozenset()
    """Whatever was running once."""
    finished: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()

    @property
    def active(self) -> frozenset[str]:
        """Those that run now."""
        return self.begun - self.finished - self.failed


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a run is. Times are aware, in UTC."""

    id: str
    name: str
    number: int
    state: RunState
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    stopped_at: datetime | None
    progress: Progress

    @property
    def identity(self) -> EngineIdentity:
        """What REANA calls the run."""
        return EngineIdentity(self.id, self.name, self.number)


@dataclass(frozen=True, slots=True)
class JobLog:
    """A job of a run. REANA tells no exit code."""

    id: str
    name: str
    """Not unique."""
    status: str
    command: str
    """The whole shell line that the job ran."""
    image: str
    backend: str
    backend_job_id: str
    log: str
    """Empty until the job has ended."""
    started_at: datetime | None
    """When it was submitted, whenever it then began."""
    finished_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.status in {"finished", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class RunLogs:
    """The logs of a run, or a part of them; jobs are in the order of their making."""

    workflow_log: str
    jobs: tuple[JobLog, ...]
    begin: int = 0
    """The place of the first of ``jobs`` among all of the run."""


@dataclass(frozen=True, slots=True)
class WorkspaceFile:
    """A file, or a symbolic link (``size_bytes`` is then that of the link), of a run's workspace."""

    path: str
    size_bytes: int
    modified_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Who the server takes us for, and what it is."""

    version: str
    email: str
    name: str
    clock_ahead: timedelta
    """How far its clock is ahead of ours."""
    quota: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """By resource (``cpu`` in milliseconds, ``disk`` in bytes): what is used, and of how much."""


def _or(default: Any) -> BeforeValidator:
    """REANA sends null where it has nothing to say."""
    return BeforeValidator(lambda value: default if value is None else value)


_Text = Annotated[str, _or("")]
_Ids = Annotated[frozenset[Annotated[str, Field(max_length=100)]], _or(frozenset())]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


Wire = TypeVar("Wire", bound=_Wire)


class _Count(_Wire):
    total: Annotated[int, _or(0)] = 0
    job_ids: _Ids = frozenset()


_Counted = Annotated[_Count, _or(_Count())]


class _Progress(_Wire):
    run_started_at: str | None = None
    run_finished_at: str | None = None
    run_stopped_at: str | None = None
    total: _Counted = _Count()
    running: _Counted = _Count()
    finished: _Counted = _Count()
    failed: _Counted = _Count()


class _Workflow(_Wire):
    id: UUID
    name: str = Field(max_length=1024)
    status: RunState
    created: str | None = None
    progress: Annotated[_Progress, _or(_Progress())] = _Progress()


class _Created(_Wire):
    workflow_id: UUID
    workflow_name: str = Field(max_length=1024)


class _Job(_Wire):
    job_name: _Text = ""
    status: _Text = ""
    cmd: _Text = ""
    docker_img: _Text = ""
    compute_backend: _Text = ""
    backend_job_id: _Text = ""
    logs: _Text = ""
    started_at: str | None = None
    finished_at: str | None = None


class _Logs(_Wire):
    workflow_logs: _Text = ""
    job_logs: Annotated[dict[Annotated[str, Field(max_length=100)], _Job], _or({})] = Field(default={})


class _LogsAnswer(_Wire):
    logs: str


class _Size(_Wire):
    raw: int = Field(ge=0)


class _File(_Wire):
    name: str = Field(min_length=1, max_length=4096)
    size: _Size
    modified: str | None = Field(default=None, alias="last-modified")


class _Amount(_Wire):
    raw: Annotated[float, _or(0)] = 0


class _Resource(_Wire):
    usage: Annotated[_Amount, _or(_Amount())] = _Amount()
    limit: _Amount | None = None


class _You(_Wire):
    email: _Text = ""
    full_name: _Text = ""
    reana_server_version: _Text = ""
    quota: Annotated[dict[str, _Resource], _or({})] = Field(default={})


class _Specification(_Wire):
    specification: dict[str, Any]


def _parse(kind: type[Wire], found: Any, what: str) -> Wire:
    """``found`` as what it should be.

    Raises:
        WrongAnswer: it is something else.
    """
    try:
        return kind.model_validate(found)
    except (ValidationError, RecursionError) as error:
        raise faults.WrongAnswer(f"{what} is not understood: {_places(error)}") from None


def _places(error: ValidationError | RecursionError) -> str:
    """Where the answer is wrong; never what it says there, which may be secret."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{first['msg']} at {'/'.join(str(part) for part in first['loc'])[:200] or 'its top'}"


def moment(text: str | None, clock_ahead: timedelta) -> datetime | None:
    """A time of the server, in UTC and by our clock.

    Raises:
        WrongAnswer: it is not a time.
    """
    if not text or text == "None":
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found.replace(tzinfo=found.tzinfo or UTC) - clock_ahead).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise faults.WrongAnswer("it tells a time that is none") from error


def loaded(text: bytes | str, what: str) -> Any:
    """The value of JSON.

    Raises:
        WrongAnswer: it is none. The text, which may hold secrets, does not go along.
    """
    with suppress(ValueError):
        return orjson.loads(text)
    raise faults.WrongAnswer(f"{what} is not JSON")


def identity(found: Any) -> EngineIdentity:
    """What a run that was created is called."""
    created = _parse(_Created, found, "its answer to a new run")
    return EngineIdentity(str(created.workflow_id), *_named(created.workflow_name))


def run_status(found: Any, clock_ahead: timedelta) -> RunStatus:
    """An entry of the list of runs."""
    run = _parse(_Workflow, found, "its list of runs")
    progress, total = run.progress, run.progress.total.total
    return RunStatus(
        str(run.id),
        *_named(run.name),
        run.status,
        moment(run.created, clock_ahead),
        moment(progress.run_started_at, clock_ahead),
        moment(progress.run_finished_at, clock_ahead),
        moment(progress.run_stopped_at, clock_ahead),
        Progress(
            total if total > 0 else None, progress.running.job_ids, progress.finished.job_ids, progress.failed.job_ids
        ),
    )


def run_logs(found: Any, clock_ahead: timedelta, begin: int) -> RunLogs:
    """The logs of a run: JSON in JSON."""
    text = _parse(_LogsAnswer, found, "its answer to a look at logs").logs
    logs = _parse(_Logs, loaded(text, "what it sends as logs"), "its logs")
    jobs = (
        JobLog(
            id_,
            job.job_name,
            job.status,
            job.cmd,
            job.docker_img,
            job.compute_backend,
            job.backend_job_id,
            job.logs,
            moment(job.started_at, clock_ahead),
            moment(job.finished_at, clock_ahead),
        )
        for id_, job in logs.job_logs.items()
    )
    return RunLogs(logs.workflow_logs, tuple(jobs), begin)


def workspace_file(found: Any, clock_ahead: timedelta) -> WorkspaceFile:
    """An entry of the list of files."""
    file = _parse(_File, found, "its list of files")
    return WorkspaceFile(file.name, file.size.raw, moment(file.modified, clock_ahead))


def server_facts(found: Any, clock_ahead: timedelta) -> ServerFacts:
    """Who we are there. The answer holds the token as well: it is not kept."""
    you = _parse(_You, found, "its answer to who we are")
    quota: Mapping[str, _Resource] = you.quota
    return ServerFacts(
        you.reana_server_version[:100],
        you.email[:320],
        you.full_name[:200],
        clock_ahead,
        {name: (int(one.usage.raw), int(one.limit.raw) if one.limit else None) for name, one in quota.items()},
    )


def specification(found: Any) -> dict[str, Any]:
    """What a run was created with."""
    return _parse(_Specification, found, "the specification of the run").specification


def listed(found: Any, what: str) -> list[Any]:
    """A list, which REANA sends as null where it is empty."""
    if found is None:
        return []
    if not isinstance(found, list):
        raise faults.WrongAnswer(f"{what} is no list")
    return found


def _named(full_name: str) -> tuple[str, int]:
    """``probe.6`` is the sixth run of ``probe``; ``probe.6.1`` is its first repetition."""
    name, _, number = full_name.partition(".")
    text = number.partition(".")[0]
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - no run is the thousand-millionth of its name
        raise faults.WrongAnswer("it calls a run by a name that has no number")
    return name, int(text)
