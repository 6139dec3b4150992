"""Data elsewhere: the places that people registered, the copies that the store holds of it, and who needs them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, UniqueConstraint, Uuid
from sqlmodel import Field, SQLModel

from stemma.database.tables.credentials import OWNER_LENGTH, SCOPE_LENGTH
from stemma.database.tables.workflows import GROUP_LENGTH
from stemma.database.types import JsonText, UtcDateTime, identifier, long_text, sequence
from stemma.records import Json

REMOTE_NAME_LENGTH = 64
REMOTE_KIND_LENGTH = 20
HOME_LENGTH = 64
VERSION_LENGTH = 255


class RemoteRow(SQLModel, table=True):
    """A place elsewhere that a person or a group registered."""

    __tablename__ = "remote"
    __table_args__ = (UniqueConstraint("scope", "owner", "name", name="uq_remote_name"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    uuid: UUID = Field(sa_type=Uuid)
    scope: str = Field(sa_type=identifier(SCOPE_LENGTH))
    """``person`` or ``group``."""
    owner: str = Field(sa_type=identifier(OWNER_LENGTH))
    """The person's subject, or the group."""
    name: str = Field(sa_type=identifier(REMOTE_NAME_LENGTH))
    kind: str = Field(sa_type=identifier(REMOTE_KIND_LENGTH))
    settings: Json = Field(sa_type=JsonText)
    """Endpoint, bucket, region: what may be shown."""
    sealed: str | None = Field(default=None, sa_type=long_text())
    """The credentials, sealed."""
    created_by: str = Field(foreign_key="person.subject", sa_type=identifier(255))
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ReplicaRow(SQLModel, table=True):
    """The copy of one version of one source, as a group has it in one store.

    Each group has its own, whatever others have: that a file is here already must not tell that others work on it.
    """

    __tablename__ = "replica"
    __table_args__ = (
        UniqueConstraint("home", "group_name", "source_key", "version", name="uq_replica_source"),
        Index("ix_replica_state", "home", "state", "lease_until"),
        Index("ix_replica_content", "home", "sha256"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    uuid: UUID = Field(sa_type=Uuid)
    home: str = Field(sa_type=identifier(HOME_LENGTH))
    """The data folder whose store holds it."""
    group_name: str = Field(sa_type=identifier(GROUP_LENGTH))
    remote_id: int | None = Field(default=None, sa_type=sequence())
    """The registered place; None where the address is all that there is. Places may be deleted, so it is no key."""
    address: str = Field(sa_type=long_text())
    source_key: str = Field(sa_type=identifier(64))
    """SHA-256 of the place and the address, which may be too long for an index."""
    version: str = Field(sa_type=identifier(VERSION_LENGTH))
    told: Json = Field(sa_type=JsonText)
    """What the source said of itself: ETag, Last-Modified, where redirects led."""
    size_bytes: int | None = Field(default=None, sa_type=BigInteger)
    expected: str | None = Field(default=None, sa_type=identifier(64))
    """The SHA-256 that it must have, where somebody said so, or the SHA-1 (40 digits)."""
    sha256: str | None = Field(default=None, sa_type=identifier(64))
    verified: str | None = Field(default=None, sa_type=identifier(20))
    state: str = Field(sa_type=identifier(20))
    moved_bytes: int = Field(default=0, sa_type=BigInteger)
    """In the transfer that goes on, or the last one."""
    reserved_bytes: int = Field(default=0, sa_type=BigInteger)
    """Of the store's space, while it moves."""
    tries: int = 0
    not_before: datetime = Field(sa_type=UtcDateTime)
    """When to try again."""
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = Field(default=None, sa_type=long_text())
    lease_owner: str | None = Field(default=None, sa_type=identifier(100))
    lease_until: datetime = Field(sa_type=UtcDateTime)
    fence: int = 0
    """Counts the claims. What a mover writes under an older count is refused."""


class ReplicationRow(SQLModel, table=True):
    """That a run needs a replica, as which of its inputs, and how it came."""

    __tablename__ = "replication"
    __table_args__ = (
        UniqueConstraint("occurrence", name="uq_replication_occurrence"),
        Index("ix_replication_run", "run_id", "state"),
        Index("ix_replication_replica", "replica_id", "state"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    uuid: UUID = Field(sa_type=Uuid)
    run_id: int = Field(foreign_key="run.id", sa_type=sequence())
    occurrence: UUID = Field(sa_type=Uuid)
    replica_id: int = Field(foreign_key="replica.id", sa_type=sequence())
    state: str = Field(sa_type=identifier(20))
    requested_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When its transfer began; None where it was here."""
    arrived_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    was_here: bool | None = None
    """Whether it came from the store instead of being moved for this run."""
    times: int = 0
    """How often it was moved while the run went on: again where space was short and it was dropped in between."""
    moved_bytes: int = Field(default=0, sa_type=BigInteger)
    """All of those times."""
    sha256: str | None = Field(default=None, sa_type=identifier(64))
    verified: str | None = Field(default=None, sa_type=identifier(20))
    source: Json = Field(sa_type=JsonText)
    """The address and version that the bytes came from, as they stood then."""
    error: str | None = Field(default=None, sa_type=long_text())


class StepWaitRow(SQLModel, table=True):
    """That a step execution waited for files; it ends where the step starts, or ends."""

    __tablename__ = "step_wait"
    __table_args__ = (Index("ix_step_wait_run", "run_id", "attempt"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=sequence())
    run_id: int = Field(foreign_key="run.id", sa_type=sequence())
    attempt: int
    step_key: str = Field(sa_type=long_text())
    path: str = Field(sa_type=long_text())
    occurrences: Json = Field(sa_type=JsonText)
    at: datetime = Field(sa_type=UtcDateTime)


class StoreSpaceRow(SQLModel, table=True):
    """What replication has brought into the store of one data folder, which no other row tells."""

    __tablename__ = "store_space"

    home: str = Field(primary_key=True, sa_type=identifier(HOME_LENGTH))
    moved_bytes: int = Field(default=0, sa_type=BigInteger)
