"""What others' controllers told of steps, and which copies are fetched ahead for that."""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from stemma.database.tables.workflows import GROUP_LENGTH
from stemma.database.types import UtcDateTime, identifier, long_text, sequence

LABEL_LENGTH = 255


class StepToldRow(SQLModel, table=True):
    """How far a step is, as somebody told it: a hint for what to fetch next, and no fact of any record."""

    __tablename__ = "step_told"
    __table_args__ = (
        UniqueConstraint("told_key", name="uq_step_told"),
        Index("ix_step_told_run", "run_id", "attempt"),
        Index("ix_step_told_group", "group_name", "expires_at"),
        Index("ix_step_told_expires", "expires_at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    told_key: str = Field(sa_type=identifier(64))
    """SHA-256 of what it is about: the run and its attempt, or the workflow and the label, and the step."""
    group_name: str = Field(sa_type=identifier(GROUP_LENGTH))
    run_id: int | None = Field(default=None, foreign_key="run.id", sa_type=sequence())
    attempt: int = 0
    """Of the run: another attempt begins with all steps anew."""
    workflow_id: int | None = Field(default=None, foreign_key="workflow.id", sa_type=sequence())
    """Where there is no run of this service."""
    label: str = Field(sa_type=identifier(LABEL_LENGTH))
    """What a controller calls the run of the workflow that it is about."""
    step_key: str = Field(sa_type=long_text())
    state: str = Field(sa_type=identifier(20))
    at: datetime = Field(sa_type=UtcDateTime)
    """When the step came to that state, as it was told."""
    told_at: datetime = Field(sa_type=UtcDateTime)
    told_by: str = Field(foreign_key="person.subject", sa_type=identifier(255))
    expires_at: datetime = Field(sa_type=UtcDateTime)


class AheadRow(SQLModel, table=True):
    """That a copy is fetched ahead for a step that somebody told of."""

    __tablename__ = "ahead"
    __table_args__ = (
        UniqueConstraint("told_id", "replica_id", name="uq_ahead"),
        Index("ix_ahead_replica", "replica_id"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    told_id: int = Field(foreign_key="step_told.id", sa_type=sequence())
    replica_id: int = Field(foreign_key="replica.id", sa_type=sequence())
