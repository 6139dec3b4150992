"""What happened in runs: steps, files, uses, and every change of state."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from stemma.database.types import JsonText, UtcDateTime, identifier, long_text, sequence
from stemma.records import Json


class StepRow(SQLModel, table=True):
    """One execution of a step."""

    __tablename__ = "step_run"
    __table_args__ = (
        UniqueConstraint("uuid", name="uq_step_uuid"),
        Index("ix_step_run", "run_id", "attempt"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    uuid: UUID = Field(sa_type=Uuid)
    run_id: int = Field(foreign_key="run.id", sa_type=sequence())
    attempt: int
    step_key: str = Field(sa_type=long_text())
    path: str = Field(sa_type=long_text())
    kind: str = Field(sa_type=identifier(20))
    state: str = Field(sa_type=identifier(20))
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    parent: UUID | None = Field(default=None, sa_type=Uuid)
    scatter_index: Json = Field(sa_type=JsonText)
    command: Json = Field(sa_type=JsonText)
    exit_code: int | None = None
    image: str | None = Field(default=None, sa_type=long_text())
    image_digest: str | None = Field(default=None, sa_type=identifier(255))
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = Field(default=None, sa_type=BigInteger)
    disk_read_bytes: int | None = Field(default=None, sa_type=BigInteger)
    disk_write_bytes: int | None = Field(default=None, sa_type=BigInteger)
    stdout_tail: str | None = Field(default=None, sa_type=long_text())
    stderr_tail: str | None = Field(default=None, sa_type=long_text())
    error: str | None = Field(default=None, sa_type=long_text())
    literals: Json = Field(sa_type=JsonText)
    reused_from: UUID | None = Field(default=None, sa_type=Uuid)
    backend_job_id: str | None = Field(default=None, sa_type=identifier(255))


class OccurrenceRow(SQLModel, table=True):
    """A file or directory at one place of one run."""

    __tablename__ = "occurrence"
    __table_args__ = (
        UniqueConstraint("uuid", name="uq_occurrence_uuid"),
        Index("ix_occurrence_run", "run_id"),
        Index("ix_occurrence_content", "sha256"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    uuid: UUID = Field(sa_type=Uuid)
    run_id: int = Field(foreign_key="run.id", sa_type=sequence())
    attempt: int
    kind: str = Field(sa_type=identifier(20))
    basename: str = Field(sa_type=long_text())
    port: str = Field(sa_type=long_text())
    position: str = Field(sa_type=long_text())
    sha256: str | None = Field(default=None, sa_type=identifier(64))
    size_bytes: int | None = Field(default=None, sa_type=BigInteger)
    step: UUID | None = Field(default=None, sa_type=Uuid)
    parent: UUID | None = Field(default=None, sa_type=Uuid)
    derived_from: Json = Field(sa_type=JsonText)
    at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class UsageRow(SQLModel, table=True):
    """That a step used an occurrence."""

    __tablename__ = "file_usage"
    __table_args__ = (Index("ix_usage_run", "run_id"), Index("ix_usage_occurrence", "occurrence"))

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    run_id: int = Field(foreign_key="run.id", sa_type=sequence())
    step: UUID = Field(sa_type=Uuid)
    occurrence: UUID = Field(sa_type=Uuid)
    port: str = Field(sa_type=long_text())
    position: str = Field(sa_type=long_text())


class RunOutputRow(SQLModel, table=True):
    """That an output of the run is, or contains, an occurrence."""

    __tablename__ = "run_output"
    __table_args__ = (Index("ix_run_output_run", "run_id"), Index("ix_run_output_occurrence", "occurrence"))

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    run_id: int = Field(foreign_key="run.id", sa_type=sequence())
    occurrence: UUID = Field(sa_type=Uuid)
    port: str = Field(sa_type=long_text())
    position: str = Field(sa_type=long_text())


class EventRow(SQLModel, table=True):
    """A change of state of a run or of one of its steps, in the order of happening."""

    __tablename__ = "run_event"
    __table_args__ = (Index("ix_event_run", "run_id", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    run_id: int = Field(foreign_key="run.id", sa_type=sequence())
    at: datetime = Field(sa_type=UtcDateTime)
    step: UUID | None = Field(default=None, sa_type=Uuid)
    """None when the run itself changed."""
    step_key: str | None = Field(default=None, sa_type=long_text())
    state: str = Field(sa_type=identifier(20))
    message: str | None = Field(default=None, sa_type=long_text())
