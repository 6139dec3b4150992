"""Engines elsewhere: what they call a run, and the credentials that people have there."""

import sqlalchemy as sa
from alembic import op

from stemma.database.types import UtcDateTime, identifier, long_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Columns are added in place: making a large table anew would take as long as it is large."""
    op.create_table(
        "engine_credential",
        sa.Column("engine", identifier(40), nullable=False),
        sa.Column("scope", identifier(10), nullable=False),
        sa.Column("owner", identifier(255), nullable=False),
        sa.Column("sealed", long_text(), nullable=False),
        sa.Column("set_by", identifier(255), nullable=False),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["set_by"], ["person.subject"]),
        sa.PrimaryKeyConstraint("engine", "scope", "owner"),
    )
    op.add_column("run", sa.Column("engine_run_id", identifier(255), nullable=True))
    op.add_column("run", sa.Column("engine_run_name", identifier(301), nullable=True))
    op.add_column("run", sa.Column("engine_run_number", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take back. The credentials are lost, and what engines elsewhere called the runs."""
    op.drop_column("run", "engine_run_number")
    op.drop_column("run", "engine_run_name")
    op.drop_column("run", "engine_run_id")
    op.drop_table("engine_credential")
