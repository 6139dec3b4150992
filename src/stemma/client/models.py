"""What a service tells, typed. Fields that a service adds later are left aside; ``raw`` has them all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stemma.errors import Finding
from stemma.states import RunState


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True, slots=True)
class Workflow:
    """A registry entry."""

    id: int
    name: str
    version: str
    group: str
    revision: int
    """The number of its newest revision."""
    created_at: datetime | None
    updated_at: datetime | None
    created_by: str | None
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Workflow":
        """As the service tells of it."""
        return cls(
            id=told["registry_id"],
            name=told["name"],
            version=told["version"],
            group=told["group"],
            revision=told["revision"],
            created_at=_time(told.get("created_at")),
            updated_at=_time(told.get("updated_at")),
            created_by=told.get("created_by"),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a registration or an update."""

    id: int
    revision: int
    changed: bool
    """Whether a revision was added."""
    warnings: tuple[Finding, ...]
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Registered":
        """As the service tells of it."""
        return cls(
            id=told["registry_id"],
            revision=told["revision"],
            changed=told["changed"],
            warnings=tuple(_finding(one) for one in told.get("warnings") or ()),
            raw=told,
        )


def _finding(told: Mapping[str, Any]) -> Finding:
    return Finding(told["message"], told.get("rule", ""), told.get("file"), told.get("line"), told.get("column"))


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable revision of an entry."""

    number: int
    digest: str
    created_at: datetime | None
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Revision":
        """As the service tells of it."""
        return cls(told["revision"], told["digest"], _time(told.get("created_at")), told)


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs workflows."""

    name: str
    version: str | None
    is_default: bool
    """Whether it runs what names no engine."""
    is_remote: bool
    problem: str | None
    """Why it does not work at this service, if it does not."""
    takes_credentials: bool
    credentials: tuple[str | None, ...]
    """Whose there are: None for the caller's own, else the group; the one that is taken stands first."""
    has_service_credential: bool
    """Whether there is one for whoever has none."""
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Engine":
        """As the service tells of it."""
        return cls(
            name=told["name"],
            version=told.get("version"),
            is_default=told["default"],
            is_remote=told["remote"],
            problem=told.get("problem"),
            takes_credentials=told["takes_credentials"],
            credentials=tuple(one.get("group") for one in told["credentials"]),
            has_service_credential=told["service_credential"],
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One execution of a step."""

    id: str
    key: str
    """Unique in an attempt, ``by_year[2]/summarise``."""
    path: str
    """Its definition, ``by_year/summarise``: the same for every element of a scatter."""
    state: str
    attempt: int
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    error: str | None
    stderr_tail: str | None
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Step":
        """As the service tells of it."""
        return cls(
            id=told["step_id"],
            key=told["key"],
            path=told["path"],
            state=told["status"],
            attempt=told["attempt"],
            started_at=_time(told.get("start_time")),
            ended_at=_time(told.get("end_time")),
            exit_code=told.get("exit_code"),
            error=told.get("error_message"),
            stderr_tail=told.get("stderr_tail"),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a workflow."""

    id: int
    state: RunState
    name: str
    """``name:version``."""
    number: int | None
    workflow_id: int | None
    engine: str | None
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    reason: str | None
    """Why it failed or was stopped."""
    steps: tuple[Step, ...]
    """Empty in lists."""
    outputs: Mapping[str, Any] | None
    """The output object; its Files carry ``id``. None until it has finished, and in lists."""
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Run":
        """As the service tells of it."""
        return cls(
            id=told["execution_id"],
            state=RunState(told["status"]),
            name=told["reana_name"],
            number=told.get("reana_run_number"),
            workflow_id=told.get("registry_id"),
            engine=told.get("engine"),
            submitted_at=_time(told.get("submitted_at")),
            started_at=_time(told.get("start_time")),
            ended_at=_time(told.get("end_time")),
            reason=told.get("reason"),
            steps=tuple(Step.of(step) for step in told.get("steps") or ()),
            outputs=told.get("outputs"),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """A change of state of a run, or of one of its steps."""

    id: str
    state: str
    at: datetime | None
    step_key: str | None
    """None for the run itself."""
    message: str | None

    @classmethod
    def of(cls, event_id: str, told: Mapping[str, Any]) -> "Event":
        """As the service tells of it."""
        return cls(
            id=event_id,
            state=told["status"],
            at=_time(told.get("at")),
            step_key=told.get("step_key"),
            message=told.get("message"),
        )


def path_of(key: str) -> str:
    """The definition of the step with ``key``: without the places in scatters (``a[1][2]/b`` is ``a/b``)."""
    return "/".join(part.partition("[")[0] for part in key.split("/"))
