"""What tasks used, beside their results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; tasks that ended before have nothing in it."""
    op.add_column("results", sa.Column("usage", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop it; the results themselves still say it."""
    op.drop_column("results", "usage")
