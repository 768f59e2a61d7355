"""The first tables.

Text that holds JSON is plain text here: a step must not follow later changes of our types.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make everything."""
    _people()
    _what_is_registered()
    _work()
    _broker()


def downgrade() -> None:
    """Drop everything, with all that is in it."""
    for table in (
        "broker_credentials",
        "results",
        "payloads",
        "tasks",
        "task_groups",
        "user_endpoints",
        "endpoints",
        "functions",
        "tokens",
        "identities",
    ):
        op.drop_table(table)


def _people() -> None:
    op.create_table(
        "identities",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("username", sa.String(length=254), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("identity_provider", sa.Text(), nullable=False),
        sa.Column("identity_provider_display_name", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("last_authentication", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("username", name="uq_identities_username"),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("identity", sa.String(length=36), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["identity"], ["identities.id"], name="fk_tokens_identity", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
    )
    op.create_index("ix_tokens_identity", "tokens", ["identity"], unique=False)


def _what_is_registered() -> None:
    op.create_table(
        "functions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("meta", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("deleted_at", sa.Float(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_functions"),
    )
    op.create_index("ix_functions_owner", "functions", ["owner"], unique=False)
    op.create_table(
        "endpoints",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("multi_user", sa.Boolean(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=True),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("allowed_functions", sa.Text(), nullable=True),
        sa.Column("authentication_policy", sa.Text(), nullable=True),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("high_assurance", sa.Boolean(), nullable=False),
        sa.Column("admins", sa.Text(), nullable=False),
        sa.Column("heartbeat_period_s", sa.Float(), nullable=False),
        sa.Column("last_heartbeat_at", sa.Float(), nullable=True),
        sa.Column("last_state", sa.Text(), nullable=False),
        sa.Column("locked_until", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_endpoints"),
    )
    op.create_index("ix_endpoints_owner", "endpoints", ["owner"], unique=False)
    op.create_table(
        "user_endpoints",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("endpoint", sa.String(length=36), nullable=False),
        sa.Column("identity", sa.String(length=36), nullable=False),
        sa.Column("options", sa.Text(), nullable=True),
        sa.Column("runtime", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("command", sa.String(length=36), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("heartbeat_period_s", sa.Float(), nullable=False),
        sa.Column("last_heartbeat_at", sa.Float(), nullable=True),
        sa.Column("last_state", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=True),
        sa.Column("moved_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_user_endpoints"),
    )
    op.create_index("ix_user_endpoints_endpoint", "user_endpoints", ["endpoint"], unique=False)


def _work() -> None:
    op.create_table(
        "task_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_task_groups"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("group", sa.String(length=36), nullable=False),
        sa.Column("function", sa.String(length=36), nullable=False),
        sa.Column("endpoint", sa.String(length=36), nullable=False),
        sa.Column("user_endpoint", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("serializers", sa.Text(), nullable=True),
        sa.Column("submitted_at", sa.Float(), nullable=False),
        sa.Column("published_at", sa.Float(), nullable=True),
        sa.Column("completed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
    )
    op.create_index("ix_tasks_group", "tasks", ["group"], unique=False)
    op.create_index(
        "ix_tasks_open",
        "tasks",
        ["user_endpoint"],
        unique=False,
        sqlite_where=sa.text("completed_at IS NULL"),
        postgresql_where=sa.text("completed_at IS NULL"),
    )
    op.create_index("ix_tasks_owner_submitted_at", "tasks", ["owner", "submitted_at"], unique=False)
    op.create_index(
        "ix_tasks_unpublished",
        "tasks",
        ["submitted_at"],
        unique=False,
        sqlite_where=sa.text("published_at IS NULL AND completed_at IS NULL"),
        postgresql_where=sa.text("published_at IS NULL AND completed_at IS NULL"),
    )
    op.create_table(
        "payloads",
        sa.Column("task", sa.String(length=36), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task", name="pk_payloads"),
    )
    op.create_table(
        "results",
        sa.Column("task", sa.String(length=36), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("task", name="pk_results"),
    )


def _broker() -> None:
    op.create_table(
        "broker_credentials",
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("principal", sa.String(length=36), nullable=False),
        sa.Column("command", sa.String(length=36), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("user", name="pk_broker_credentials"),
    )
    op.create_index(
        "ix_broker_credentials_kind_principal",
        "broker_credentials",
        ["kind", "principal"],
        unique=False,
    )
