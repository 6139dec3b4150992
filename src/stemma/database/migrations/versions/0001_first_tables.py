"""The first tables."""

import sqlalchemy as sa
from alembic import op

from stemma.database.types import JsonText, UtcDateTime, identifier, long_text, sequence

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "content",
        sa.Column("sha256", identifier(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "person",
        sa.Column("subject", identifier(255), nullable=False),
        sa.Column("username", identifier(255), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_table(
        "workflow",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("group_name", identifier(255), nullable=False),
        sa.Column("name", identifier(200), nullable=False),
        sa.Column("version", identifier(100), nullable=False),
        sa.Column("live", sa.Integer(), nullable=True),
        sa.Column("latest_number", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", identifier(255), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["person.subject"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("group_name", "name", "version", "live", name="uq_workflow_name"),
    )
    with op.batch_alter_table("workflow", schema=None) as batch_op:
        batch_op.create_index("ix_workflow_group", ["group_name", "id"], unique=False)

    op.create_table(
        "revision",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("workflow_id", sequence(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", identifier(255), nullable=False),
        sa.Column("digest", identifier(64), nullable=False),
        sa.Column("main_path", identifier(500), nullable=False),
        sa.Column("spec_name", identifier(255), nullable=False),
        sa.Column("spec_sha256", identifier(64), nullable=False),
        sa.Column("inputs_name", identifier(255), nullable=True),
        sa.Column("inputs_sha256", identifier(64), nullable=True),
        sa.Column("structure", JsonText(), nullable=False),
        sa.Column("placeholders", JsonText(), nullable=False),
        sa.Column("warnings", JsonText(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["person.subject"]),
        sa.ForeignKeyConstraint(["inputs_sha256"], ["content.sha256"]),
        sa.ForeignKeyConstraint(["spec_sha256"], ["content.sha256"]),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflow.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("workflow_id", "number", name="uq_revision_number"),
    )
    op.create_table(
        "revision_file",
        sa.Column("revision_id", sequence(), nullable=False),
        sa.Column("path", identifier(500), nullable=False),
        sa.Column("sha256", identifier(64), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"]),
        sa.ForeignKeyConstraint(["sha256"], ["content.sha256"]),
        sa.PrimaryKeyConstraint("revision_id", "path"),
    )
    op.create_table(
        "run",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("group_name", identifier(255), nullable=False),
        sa.Column("workflow_id", sequence(), nullable=False),
        sa.Column("revision_id", sequence(), nullable=False),
        sa.Column("engine", identifier(40), nullable=False),
        sa.Column("engine_version", identifier(100), nullable=True),
        sa.Column("name", identifier(301), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("state", identifier(20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("submitted_by", identifier(255), nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("reason", long_text(), nullable=True),
        sa.Column("inputs", JsonText(), nullable=False),
        sa.Column("outputs", JsonText(), nullable=True),
        sa.Column("containers", identifier(10), nullable=False),
        sa.Column("time_limit_seconds", sa.Float(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reference", identifier(255), nullable=True),
        sa.Column("journal_cursor", identifier(100), nullable=False),
        sa.Column("home", identifier(64), nullable=True),
        sa.Column("stop_requested_at", UtcDateTime(), nullable=True),
        sa.Column("stop_requested_by", identifier(255), nullable=True),
        sa.Column("lease_owner", identifier(100), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"]),
        sa.ForeignKeyConstraint(["submitted_by"], ["person.subject"]),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflow.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("group_name", "name", "number", name="uq_run_number"),
        sa.UniqueConstraint("uuid", name="uq_run_uuid"),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index("ix_run_claim", ["active", "lease_until"], unique=False)
        batch_op.create_index("ix_run_group", ["group_name", "id"], unique=False)
        batch_op.create_index("ix_run_owner", ["lease_owner"], unique=False)
        batch_op.create_index("ix_run_workflow", ["workflow_id", "id"], unique=False)

    op.create_table(
        "attempt",
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("worker", identifier(100), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", identifier(20), nullable=True),
        sa.Column("reason", long_text(), nullable=True),
        sa.Column("environment", JsonText(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("run_id", "number"),
    )
    op.create_table(
        "capture",
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("sha256", identifier(64), nullable=False),
        sa.Column("captured_at", UtcDateTime(), nullable=False),
        sa.Column("captured_by", identifier(255), nullable=False),
        sa.ForeignKeyConstraint(["captured_by"], ["person.subject"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["sha256"], ["content.sha256"]),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_table(
        "file_usage",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("step", sa.Uuid(), nullable=False),
        sa.Column("occurrence", sa.Uuid(), nullable=False),
        sa.Column("port", long_text(), nullable=False),
        sa.Column("position", long_text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("file_usage", schema=None) as batch_op:
        batch_op.create_index("ix_usage_occurrence", ["occurrence"], unique=False)
        batch_op.create_index("ix_usage_run", ["run_id"], unique=False)

    op.create_table(
        "occurrence",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", identifier(20), nullable=False),
        sa.Column("basename", long_text(), nullable=False),
        sa.Column("port", long_text(), nullable=False),
        sa.Column("position", long_text(), nullable=False),
        sa.Column("sha256", identifier(64), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("step", sa.Uuid(), nullable=True),
        sa.Column("parent", sa.Uuid(), nullable=True),
        sa.Column("derived_from", JsonText(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid", name="uq_occurrence_uuid"),
    )
    with op.batch_alter_table("occurrence", schema=None) as batch_op:
        batch_op.create_index("ix_occurrence_content", ["sha256"], unique=False)
        batch_op.create_index("ix_occurrence_run", ["run_id"], unique=False)

    op.create_table(
        "run_event",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("step", sa.Uuid(), nullable=True),
        sa.Column("step_key", long_text(), nullable=True),
        sa.Column("state", identifier(20), nullable=False),
        sa.Column("message", long_text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("run_event", schema=None) as batch_op:
        batch_op.create_index("ix_event_run", ["run_id", "id"], unique=False)

    op.create_table(
        "run_output",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("occurrence", sa.Uuid(), nullable=False),
        sa.Column("port", long_text(), nullable=False),
        sa.Column("position", long_text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("run_output", schema=None) as batch_op:
        batch_op.create_index("ix_run_output_occurrence", ["occurrence"], unique=False)
        batch_op.create_index("ix_run_output_run", ["run_id"], unique=False)

    op.create_table(
        "step_run",
        sa.Column("id", sequence(), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("run_id", sequence(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step_key", long_text(), nullable=False),
        sa.Column("path", long_text(), nullable=False),
        sa.Column("kind", identifier(20), nullable=False),
        sa.Column("state", identifier(20), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("parent", sa.Uuid(), nullable=True),
        sa.Column("scatter_index", JsonText(), nullable=False),
        sa.Column("command", JsonText(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("image", long_text(), nullable=True),
        sa.Column("image_digest", identifier(255), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("memory_peak_bytes", sa.BigInteger(), nullable=True),
        sa.Column("disk_read_bytes", sa.BigInteger(), nullable=True),
        sa.Column("disk_write_bytes", sa.BigInteger(), nullable=True),
        sa.Column("stdout_tail", long_text(), nullable=True),
        sa.Column("stderr_tail", long_text(), nullable=True),
        sa.Column("error", long_text(), nullable=True),
        sa.Column("literals", JsonText(), nullable=False),
        sa.Column("reused_from", sa.Uuid(), nullable=True),
        sa.Column("backend_job_id", identifier(255), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid", name="uq_step_uuid"),
    )
    with op.batch_alter_table("step_run", schema=None) as batch_op:
        batch_op.create_index("ix_step_run", ["run_id", "attempt"], unique=False)


def downgrade() -> None:
    """Take back; each table takes its indexes with it."""
    op.drop_table("step_run")
    op.drop_table("run_output")
    op.drop_table("run_event")
    op.drop_table("occurrence")
    op.drop_table("file_usage")
    op.drop_table("capture")
    op.drop_table("attempt")
    op.drop_table("run")
    op.drop_table("revision_file")
    op.drop_table("revision")
    op.drop_table("workflow")
    op.drop_table("person")
    op.drop_table("content")
