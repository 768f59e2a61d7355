"""Service accounts, what a token is good for, and authentication policies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables; tokens that exist stay good for everything."""
    op.add_column("tokens", sa.Column("scope", sa.Text(), nullable=True))
    op.create_table(
        "service_accounts",
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("rotated_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["identities.id"],
            name="fk_service_accounts_client_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("client_id", name="pk_service_accounts"),
        sa.UniqueConstraint("name", name="uq_service_accounts_name"),
    )
    op.create_table(
        "policies",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
    )


def downgrade() -> None:
    """Drop them; tokens of a narrow scope must not become good for everything."""
    op.execute("DELETE FROM tokens WHERE scope IS NOT NULL")
    op.drop_table("policies")
    op.drop_table("service_accounts")
    op.drop_column("tokens", "scope")
