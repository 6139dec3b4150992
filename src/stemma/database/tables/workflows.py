"""Registry entries and their immutable revisions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from stemma.database.types import JsonText, UtcDateTime, identifier, sequence
from stemma.records import Json

NAME_LENGTH = 200
VERSION_LENGTH = 100
GROUP_LENGTH = 255


class WorkflowRow(SQLModel, table=True):
    """A name and version that a group registered."""

    __tablename__ = "workflow"
    __table_args__ = (
        UniqueConstraint("group_name", "name", "version", "live", name="uq_workflow_name"),
        Index("ix_workflow_group", "group_name", "id"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    uuid: UUID = Field(sa_type=Uuid)
    group_name: str = Field(sa_type=identifier(GROUP_LENGTH))
    name: str = Field(sa_type=identifier(NAME_LENGTH))
    version: str = Field(sa_type=identifier(VERSION_LENGTH))
    live: int | None = Field(default=1)
    """1, or NULL once deleted: a name can be taken again, since NULLs are never equal."""
    latest_number: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(foreign_key="person.subject", sa_type=identifier(255))
    updated_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RevisionRow(SQLModel, table=True):
    """What a registry entry held at one time. Never changed once written."""

    __tablename__ = "revision"
    __table_args__ = (
        UniqueConstraint("workflow_id", "number", name="uq_revision_number"),
        Index("ix_revision_spec", "spec_sha256"),
        Index("ix_revision_inputs", "inputs_sha256"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    workflow_id: int = Field(foreign_key="workflow.id", sa_type=sequence())
    number: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(foreign_key="person.subject", sa_type=identifier(255))
    digest: str = Field(sa_type=identifier(64))
    """Of the bundle: equal content, equal digest."""
    main_path: str = Field(sa_type=identifier(500))
    spec_name: str = Field(sa_type=identifier(255))
    """The name of the file as it was sent."""
    spec_sha256: str = Field(foreign_key="content.sha256", sa_type=identifier(64))
    """The bytes as they were sent."""
    inputs_name: str | None = Field(default=None, sa_type=identifier(255))
    inputs_sha256: str | None = Field(default=None, foreign_key="content.sha256", sa_type=identifier(64))
    structure: Json = Field(sa_type=JsonText)
    placeholders: Json = Field(sa_type=JsonText)
    warnings: Json = Field(sa_type=JsonText)


class RevisionFileRow(SQLModel, table=True):
    """A file of the bundle as it is run: placeholders taken out."""

    __tablename__ = "revision_file"
    __table_args__ = (Index("ix_revision_file_content", "sha256"),)

    revision_id: int = Field(primary_key=True, foreign_key="revision.id", sa_type=sequence())
    path: str = Field(primary_key=True, sa_type=identifier(500))
    sha256: str = Field(foreign_key="content.sha256", sa_type=identifier(64))
