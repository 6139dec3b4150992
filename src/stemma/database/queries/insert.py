"""Inserting what may be there already."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Insert, insert
from sqlmodel import Session, SQLModel

from stemma.database.tables import table_of


def insert_rows(session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert ``rows`` in one statement; they all have the same keys."""
    if rows:
        session.execute(insert(table_of(table)), list(rows))


def insert_missing(session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert those of ``rows`` whose primary or unique key is not there yet."""
    if rows:
        session.execute(_ignoring_duplicates(insert(table_of(table))), list(rows))


def _ignoring_duplicates(statement: Insert) -> Insert:
    return statement.prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
