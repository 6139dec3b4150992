"""Runs, the attempts at them, and their sealed records."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from stemma.database.tables.workflows import GROUP_LENGTH, NAME_LENGTH, VERSION_LENGTH
from stemma.database.types import JsonText, UtcDateTime, identifier, long_text, sequence
from stemma.records import Json

RUN_NAME_LENGTH = NAME_LENGTH + 1 + VERSION_LENGTH
ENGINE_LENGTH = 40
"""Of an engine's name."""


class RunRow(SQLModel, table=True):
    """One execution of a revision, and which worker attends to it."""

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("uuid", name="uq_run_uuid"),
        UniqueConstraint("group_name", "name", "number", name="uq_run_number"),
        Index("ix_run_group", "group_name", "id"),
        Index("ix_run_workflow", "workflow_id", "id"),
        Index("ix_run_claim", "active", "lease_until"),
        Index("ix_run_owner", "lease_owner"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    uuid: UUID = Field(sa_type=Uuid)
    group_name: str = Field(sa_type=identifier(GROUP_LENGTH))
    workflow_id: int = Field(foreign_key="workflow.id", sa_type=sequence())
    revision_id: int = Field(foreign_key="revision.id", sa_type=sequence())
    engine: str = Field(sa_type=identifier(ENGINE_LENGTH))
    engine_version: str | None = Field(default=None, sa_type=identifier(100))
    name: str = Field(sa_type=identifier(RUN_NAME_LENGTH))
    number: int | None = None
    state: str = Field(sa_type=identifier(20))
    active: bool = True
    """Whether a worker has something to do for it: true until it has ended."""
    submitted_by: str = Field(foreign_key="person.subject", sa_type=identifier(255))
    submitted_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str | None = Field(default=None, sa_type=long_text())
    inputs: Json = Field(sa_type=JsonText)
    outputs: Json = Field(default=None, sa_type=JsonText, nullable=True)
    containers: str = Field(sa_type=identifier(10))
    time_limit_seconds: float | None = None
    attempt: int = 0
    """The current attempt's number; 0 before the first."""
    reference: str | None = Field(default=None, sa_type=identifier(255))
    """The engine's reference of the current attempt."""
    engine_run_id: str | None = Field(default=None, sa_type=identifier(255))
    """What the engine itself calls the current attempt, where it has names of its own."""
    engine_run_name: str | None = Field(default=None, sa_type=identifier(RUN_NAME_LENGTH))
    engine_run_number: int | None = None
    journal_cursor: str = Field(default="", sa_type=identifier(100))
    """How far the engine's report of the current attempt is in these tables."""
    home: str | None = Field(default=None, sa_type=identifier(64))
    """Which data folder the embedded engine's process of this attempt lies in."""
    stop_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    stop_requested_by: str | None = Field(default=None, sa_type=identifier(255))
    lease_owner: str | None = Field(default=None, sa_type=identifier(100))
    lease_until: datetime = Field(sa_type=UtcDateTime)
    """Until when nobody else may claim it; in the past when it is free."""
    fence: int = 0
    """Counts the claims. What a worker writes under an older count is refused."""
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AttemptRow(SQLModel, table=True):
    """One time that a run was given to its engine."""

    __tablename__ = "attempt"

    run_id: int = Field(primary_key=True, foreign_key="run.id", sa_type=sequence())
    number: int = Field(primary_key=True)
    uuid: UUID = Field(sa_type=Uuid)
    worker: str = Field(sa_type=identifier(100))
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: str | None = Field(default=None, sa_type=identifier(20))
    reason: str | None = Field(default=None, sa_type=long_text())
    environment: Json = Field(sa_type=JsonText)


class CaptureRow(SQLModel, table=True):
    """The sealed record of a run: a PROV document in the store, under its digest."""

    __tablename__ = "capture"
    __table_args__ = (Index("ix_capture_content", "sha256"),)

    run_id: int = Field(primary_key=True, foreign_key="run.id", sa_type=sequence())
    sha256: str = Field(foreign_key="content.sha256", sa_type=identifier(64))
    captured_at: datetime = Field(sa_type=UtcDateTime)
    captured_by: str = Field(foreign_key="person.subject", sa_type=identifier(255))
