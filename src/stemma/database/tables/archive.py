"""The archive: where outputs and uploads are kept for good."""

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

from stemma.database.tables.replication import HOME_LENGTH
from stemma.database.types import UtcDateTime, identifier, long_text


class ArchivedRow(SQLModel, table=True):
    """A content in one archive, or on its way there."""

    __tablename__ = "archived"
    __table_args__ = (
        Index("ix_archived_state", "archive", "state", "not_before"),
        Index("ix_archived_content", "sha256"),
    )

    archive: str = Field(primary_key=True, sa_type=identifier(64))
    """SHA-256 of where the archive is: what lies in one says nothing of another."""
    sha256: str = Field(primary_key=True, sa_type=identifier(64))
    size_bytes: int = Field(sa_type=BigInteger)
    home: str = Field(sa_type=identifier(HOME_LENGTH))
    """The data folder whose store it is copied from."""
    state: str = Field(sa_type=identifier(20))
    noted_at: datetime = Field(sa_type=UtcDateTime)
    archived_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When all of it lay there."""
    tries: int = 0
    not_before: datetime = Field(sa_type=UtcDateTime)
    """When to try again."""
    error: str | None = Field(default=None, sa_type=long_text())
    lease_owner: str | None = Field(default=None, sa_type=identifier(100))
    lease_until: datetime = Field(sa_type=UtcDateTime)
    fence: int = 0
    """Counts the claims. What is written under an older count is refused."""
