"""Credentials for engines whose users have accounts of their own."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from stemma.database.tables.runs import ENGINE_LENGTH
from stemma.database.types import UtcDateTime, identifier, long_text

SCOPE_LENGTH = 10
OWNER_LENGTH = 255


class CredentialRow(SQLModel, table=True):
    """What a person or a group shows an engine, sealed: whoever reads the table alone cannot use it."""

    __tablename__ = "engine_credential"

    engine: str = Field(primary_key=True, sa_type=identifier(ENGINE_LENGTH))
    scope: str = Field(primary_key=True, sa_type=identifier(SCOPE_LENGTH))
    """``person`` or ``group``."""
    owner: str = Field(primary_key=True, sa_type=identifier(OWNER_LENGTH))
    """The person's subject, or the group."""
    sealed: str = Field(sa_type=long_text())
    set_by: str = Field(foreign_key="person.subject", sa_type=identifier(255))
    set_at: datetime = Field(sa_type=UtcDateTime)
