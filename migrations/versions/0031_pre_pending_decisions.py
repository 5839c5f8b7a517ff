"""Versions about whose traffic is to be decided, and an index of what is still to be read back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pending_decisions",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("evidence", JSONB()),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waits_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("lease_owner", sa.Text()),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_pending_decisions_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_pending_decisions_adapter_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_pending_decisions")),
    )
    op.create_index(
        "ix_actions_unread",
        "actions",
        ["id"],
        postgresql_where=sa.text("state IN ('executing', 'applied', 'verify_failed')"),
    )


def downgrade() -> None:
    op.drop_index("ix_actions_unread", "actions")
    op.drop_table("pending_decisions")
