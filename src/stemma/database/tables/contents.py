"""Contents: bytes that some row speaks of."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from stemma.database.types import UtcDateTime, identifier


class ContentRow(SQLModel, table=True):
    """Bytes by their digest. Whether the store still holds them is the store's to say."""

    __tablename__ = "content"

    sha256: str = Field(primary_key=True, sa_type=identifier(64))
    size_bytes: int = Field(sa_type=BigInteger)
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
