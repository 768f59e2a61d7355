"""Tasks that were cancelled, and what became of them on site."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"

_TODO = (("untold", "told_at", "asked_at"), ("open", "closed_at", "user_endpoint"))


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "cancellations",
        sa.Column("task", sa.String(length=36), nullable=False),
        sa.Column("user_endpoint", sa.String(length=36), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("told_at", sa.Float(), nullable=True),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("task", name="pk_cancellations"),
    )
    for name, missing, by in _TODO:
        todo = sa.text(f"{missing} IS NULL")
        op.create_index(
            f"ix_cancellations_{name}",
            "cancellations",
            [by],
            sqlite_where=todo,
            postgresql_where=todo,
        )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("cancellations")
