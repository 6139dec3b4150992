"""Replication: places elsewhere, the copies that the store holds of what lies there, and which run needs them."""

import sqlalchemy as sa
from alembic import op

from stemma.database.types import JsonText, UtcDateTime, identifier, long_text, sequence

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_revision_spec", "revision", "spec_sha256"),
    ("ix_revision_inputs", "revision", "inputs_sha256"),
    ("ix_revision_file_content", "revision_file", "sha256"),
    ("ix_capture_content", "capture", "sha256"),
)
"""What the store asks before it lets a content go."""


def _indexes_of(table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "remote",
        sa.Column("id", sequence(), primary_key=True),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("scope", identifier(10), nullable=False),
        sa.Column("owner", identifier(255), nullable=False),
        sa.Column("name", identifier(64), nullable=False),
        sa.Column("kind", identifier(20), nullable=False),
        sa.Column("settings", JsonText(), nullable=False),
        sa.Column("sealed", long_text(), nullable=True),
        sa.Column("created_by", identifier(255), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["person.subject"]),
        sa.UniqueConstraint("scope", "owner", "name", name="uq_remote_name"),
    )
    op.create_table(
        "replica",
        sa.Column("id", sequence(), primary_key=True),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("home", identifier(64), nullable=False),
        sa.Column("group_name", identifier(255), nullable=False),
        sa.Column("remote_id", sequence(), nullable=True),
        sa.Column("address", long_text(), nullable=False),
        sa.Column("source_key", identifier(64), nullable=False),
        sa.Column("version", identifier(255), nullable=False),
        sa.Column("told", JsonText(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("expected", identifier(64), nullable=True),
        sa.Column("sha256", identifier(64), nullable=True),
        sa.Column("verified", identifier(20), nullable=True),
        sa.Column("state", identifier(20), nullable=False),
        sa.Column("moved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reserved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.Column("error", long_text(), nullable=True),
        sa.Column("lease_owner", identifier(100), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.UniqueConstraint("home", "group_name", "source_key", "version", name="uq_replica_source"),
    )
    op.create_index("ix_replica_state", "replica", ["home", "state", "lease_until"])
    op.create_index("ix_replica_content", "replica", ["home", "sha256"])
    op.create_table(
        "replication",
        sa.Column("id", sequence(), primary_key=True),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("occurrence", sa.Uuid(), nullable=False),
        sa.Column("replica_id", sequence(), nullable=False),
        sa.Column("state", identifier(20), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("arrived_at", UtcDateTime(), nullable=True),
        sa.Column("was_here", sa.Boolean(), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("moved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", identifier(64), nullable=True),
        sa.Column("verified", identifier(20), nullable=True),
        sa.Column("source", JsonText(), nullable=False),
        sa.Column("error", long_text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["replica_id"], ["replica.id"]),
        sa.UniqueConstraint("occurrence", name="uq_replication_occurrence"),
    )
    op.create_index("ix_replication_run", "replication", ["run_id", "state"])
    op.create_index("ix_replication_replica", "replication", ["replica_id", "state"])
    op.create_table(
        "step_wait",
        sa.Column("id", sequence(), primary_key=True),
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step_key", long_text(), nullable=False),
        sa.Column("path", long_text(), nullable=False),
        sa.Column("occurrences", JsonText(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
    )
    op.create_index("ix_step_wait_run", "step_wait", ["run_id", "attempt"])
    op.create_table(
        "store_space",
        sa.Column("home", identifier(64), nullable=False),
        sa.Column("moved_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("home"),
    )
    for name, table, column in _INDEXES:
        if name not in _indexes_of(table):  # a downgrade may have left it
            op.create_index(name, table, [column])


def downgrade() -> None:
    """Take back. What was fetched stays in the store, and where it came from is lost."""
    if op.get_bind().dialect.name == "sqlite":  # MySQL needs them for the foreign keys, having no others any more
        for name, table, _ in _INDEXES:
            op.drop_index(name, table)
    op.drop_table("store_space")
    op.drop_table("step_wait")
    op.drop_table("replication")
    op.drop_table("replica")
    op.drop_table("remote")
