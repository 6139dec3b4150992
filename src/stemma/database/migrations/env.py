"""What Alembic runs: our connection, our tables."""

from alembic import context
from sqlmodel import SQLModel

from stemma.database import tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()

__all__ = ["tables"]
