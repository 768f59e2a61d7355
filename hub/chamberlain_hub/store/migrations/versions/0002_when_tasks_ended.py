"""An index of when tasks ended: what is old is found without reading what is not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ENDED = sa.text("completed_at IS NOT NULL")


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "ix_tasks_ended",
        "tasks",
        ["completed_at"],
        unique=False,
        sqlite_where=_ENDED,
        postgresql_where=_ENDED,
    )


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_tasks_ended", table_name="tasks")
