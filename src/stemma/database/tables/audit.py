"""Who did what, or was refused."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Uuid
from sqlmodel import Field, SQLModel

from stemma.database.tables.workflows import GROUP_LENGTH
from stemma.database.types import UtcDateTime, identifier, sequence

SUBJECT_LENGTH = 255
ACTION_LENGTH = 40
KIND_LENGTH = 20
RESOURCE_LENGTH = 255
ADDRESS_LENGTH = 64
"""Of an IPv6 address with its zone, and some."""
RESULT_LENGTH = 60


class AuditRow(SQLModel, table=True):
    """One deed. Written once: triggers refuse to change or delete it (:mod:`stemma.database.guard`).

    It points at nothing by a foreign key, so that it outlives whatever it is about.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_at", "at"),
        Index("ix_audit_subject", "subject", "at"),
        Index("ix_audit_resource", "resource_kind", "resource_id"),
        {"sqlite_autoincrement": True},  # a number is never given twice, even when the newest rows were pruned
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    at: datetime = Field(sa_type=UtcDateTime)
    request: UUID | None = Field(default=None, sa_type=Uuid)
    """Which request it was part of; one that deletes several runs leaves several rows."""
    subject: str = Field(sa_type=identifier(SUBJECT_LENGTH))
    username: str = Field(sa_type=identifier(SUBJECT_LENGTH))
    """The name at that time."""
    action: str = Field(sa_type=identifier(ACTION_LENGTH))
    resource_kind: str | None = Field(default=None, sa_type=identifier(KIND_LENGTH))
    resource_id: str | None = Field(default=None, sa_type=identifier(RESOURCE_LENGTH))
    """Its number, or where it was asked for by name and not found, the name."""
    group_name: str | None = Field(default=None, sa_type=identifier(GROUP_LENGTH))
    address: str | None = Field(default=None, sa_type=identifier(ADDRESS_LENGTH))
    result: str = Field(sa_type=identifier(RESULT_LENGTH))
    """``done``, or the code of the refusal."""
    status: int | None = None
    """The HTTP status of a refusal."""
