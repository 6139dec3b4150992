"""The archive: which contents lie where they are kept for good, and who copies one at the moment."""

import sqlalchemy as sa
from alembic import op

from stemma.database.types import UtcDateTime, identifier, long_text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "archived",
        sa.Column("archive", identifier(64), nullable=False),
        sa.Column("sha256", identifier(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("home", identifier(64), nullable=False),
        sa.Column("state", identifier(20), nullable=False),
        sa.Column("noted_at", UtcDateTime(), nullable=False),
        sa.Column("archived_at", UtcDateTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("error", long_text(), nullable=True),
        sa.Column("lease_owner", identifier(100), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("archive", "sha256"),
    )
    op.create_index("ix_archived_state", "archived", ["archive", "state", "not_before"])
    op.create_index("ix_archived_content", "archived", ["sha256"])


def downgrade() -> None:
    """Take back. What lies in the archive stays there, and nobody knows that it does."""
    op.drop_table("archived")
