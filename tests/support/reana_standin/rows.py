"""What the server remembers: users, workflows, jobs."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from support.reana_standin.clock import shown

ALIVE = frozenset({"created", "queued", "pending", "running"})
_TRANSITIONS = frozenset(
    {
        ("created", "queued"),
        ("queued", "pending"),
        ("queued", "failed"),
        ("pending", "running"),
        ("running", "running"),
        ("running", "finished"),
        ("running", "failed"),
        ("running", "stopped"),
        *((status, "deleted") for status in ("created", "queued", "pending", "finished", "failed", "stopped")),
    }
)


@dataclass(frozen=True)
class User:
    """Somebody with a token."""

    name: str
    token: str
    number: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def email(self) -> str:
        """What the server calls them."""
        return f"{self.name}@example.org"


@dataclass
class Job:
    """One job of a workflow, as the job controller stores it."""

    workflow: str
    name: str
    image: str
    command: str
    started_at: datetime
    timeout: int | None = None
    status: str = "running"
    logs: str = ""
    finished_at: datetime | None = None
    number: str = field(default_factory=lambda: str(uuid.uuid4()))
    backend: str = field(default_factory=lambda: f"reana-run-job-{uuid.uuid4()}")

    def shown(self) -> dict[str, Any]:
        """Its entry in ``job_logs``."""
        return {
            "workflow_uuid": self.workflow,
            "job_name": self.name,
            "compute_backend": "Kubernetes",
            "backend_job_id": self.backend,
            "docker_img": self.image,
            "cmd": self.command,
            "status": self.status,
            "logs": self.logs,
            "started_at": shown(self.started_at),
            "finished_at": shown(self.finished_at),
        }


@dataclass
class Workflow:
    """One run, whatever its status."""

    owner: User
    name: str
    major: int
    minor: int
    specification: dict[str, Any]
    operational_options: dict[str, Any]
    created: datetime
    workspace: Path
    number: str
    status: str = "created"
    logs: str = ""
    input_parameters: dict[str, Any] = field(default_factory=dict)
    run_started_at: datetime | None = None
    run_finished_at: datetime | None = None
    run_stopped_at: datetime | None = None
    job_progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    retention_rules: list[dict[str, Any]] = field(default_factory=list)

    @property
    def run_number(self) -> str:
        """``6``, and ``6.1`` after a restart."""
        return f"{self.major}.{self.minor}" if self.minor else str(self.major)

    @property
    def full_name(self) -> str:
        """Name and number."""
        return f"{self.name}.{self.run_number}"

    def can_become(self, status: str) -> bool:
        """Whether REANA allows this change."""
        return (self.status, status) in _TRANSITIONS

    def become(self, status: str, now: datetime) -> None:
        """Change the status, and the time that goes with it."""
        self.status = status
        if status == "running":
            self.run_started_at = now
        elif status in {"finished", "failed"}:
            self.run_finished_at = now
        elif status == "stopped":
            self.run_stopped_at = now

    def note_progress(self, news: dict[str, Any]) -> None:
        """Add job ids: they are never taken out again, so ``running`` only grows."""
        for kind, said in news.items():
            before = self.job_progress.get(kind)
            if kind == "total":
                if not before or before["total"] <= 0:
                    self.job_progress[kind] = said
                continue
            numbers = dict.fromkeys([*(before["job_ids"] if before else ()), *said["job_ids"]])
            self.job_progress[kind] = {"total": len(numbers), "job_ids": list(numbers)}

    def progress(self, *, full: bool) -> dict[str, Any]:
        """What the API calls so."""
        told: dict[str, Any] = {
            "run_started_at": shown(self.run_started_at),
            "run_finished_at": shown(self.run_finished_at),
            "run_stopped_at": shown(self.run_stopped_at),
        }
        if full:
            for kind in ("total", "running", "finished", "failed"):
                told[kind] = self.job_progress.get(kind, {"total": 0, "job_ids": []})
            last = next(reversed(self.jobs.values()), None)
            told["current_command"] = last.command if last else None
            told["current_step_name"] = last.name if last else None
        return told

    def job_logs(self, jobs: Iterable[Job] | None = None) -> dict[str, Any]:
        """The jobs by their number, in the order of their creation."""
        return {job.number: job.shown() for job in (self.jobs.values() if jobs is None else jobs)}
