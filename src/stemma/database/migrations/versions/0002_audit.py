"""Who did what: a table that is only appended to."""

import logging

import sqlalchemy as sa
from alembic import op

from stemma.database import guard
from stemma.database.types import UtcDateTime, identifier, sequence

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

logger = logging.getLogger(__name__)


def upgrade() -> None:
    """Apply. Goes on where the database does not let us make triggers, and says so."""
    op.create_table(
        "audit",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("request", sa.Uuid(), nullable=True),
        sa.Column("subject", identifier(255), nullable=False),
        sa.Column("username", identifier(255), nullable=False),
        sa.Column("action", identifier(40), nullable=False),
        sa.Column("resource_kind", identifier(20), nullable=True),
        sa.Column("resource_id", identifier(255), nullable=True),
        sa.Column("group_name", identifier(255), nullable=True),
        sa.Column("address", identifier(64), nullable=True),
        sa.Column("result", identifier(60), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_subject", "audit", ["subject", "at"])
    op.create_index("ix_audit_resource", "audit", ["resource_kind", "resource_id"])
    refusal = guard.install(op.get_bind())
    if refusal is not None:
        logger.warning("the audit's triggers could not be made: %s; what to do says: stemma db check", refusal)


def downgrade() -> None:
    """Take back, with everything that was written down."""
    guard.remove(op.get_bind())
    op.drop_table("audit")
