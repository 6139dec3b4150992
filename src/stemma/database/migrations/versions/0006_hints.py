"""What others' controllers tell of steps, and what is fetched ahead for that."""

import sqlalchemy as sa
from alembic import op

from stemma.database.types import UtcDateTime, identifier, long_text, sequence

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "step_told",
        sa.Column("id", sequence(), primary_key=True),
        sa.Column("told_key", identifier(64), nullable=False),
        sa.Column("group_name", identifier(255), nullable=False),
        sa.Column("run_id", sequence(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("workflow_id", sequence(), nullable=True),
        sa.Column("label", identifier(255), nullable=False),
        sa.Column("step_key", long_text(), nullable=False),
        sa.Column("state", identifier(20), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=False),
        sa.Column("told_by", identifier(255), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflow.id"]),
        sa.ForeignKeyConstraint(["told_by"], ["person.subject"]),
        sa.UniqueConstraint("told_key", name="uq_step_told"),
    )
    op.create_index("ix_step_told_run", "step_told", ["run_id", "attempt"])
    op.create_index("ix_step_told_group", "step_told", ["group_name", "expires_at"])
    op.create_index("ix_step_told_expires", "step_told", ["expires_at"])
    op.create_table(
        "ahead",
        sa.Column("id", sequence(), primary_key=True),
        sa.Column("told_id", sequence(), nullable=False),
        sa.Column("replica_id", sequence(), nullable=False),
        sa.ForeignKeyConstraint(["told_id"], ["step_told.id"]),
        sa.ForeignKeyConstraint(["replica_id"], ["replica.id"]),
        sa.UniqueConstraint("told_id", "replica_id", name="uq_ahead"),
    )
    op.create_index("ix_ahead_replica", "ahead", ["replica_id"])


def downgrade() -> None:
    """Take back. They were hints; what was fetched ahead stays."""
    op.drop_table("ahead")
    op.drop_table("step_told")
