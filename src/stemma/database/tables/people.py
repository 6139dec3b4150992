"""People, as their tokens named them."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from stemma.database.types import UtcDateTime, identifier


class PersonRow(SQLModel, table=True):
    """Somebody who did something here."""

    __tablename__ = "person"

    subject: str = Field(primary_key=True, sa_type=identifier(255))
    """The token's ``sub``."""
    username: str = Field(sa_type=identifier(255))
    """The name at the time of the last deed."""
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
