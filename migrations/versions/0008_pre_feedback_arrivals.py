"""Feedback on its way into evidence, in the order it comes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "feedback_arrivals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("record_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("received_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("version_id", sa.Integer()),
        sa.Column("context_id", sa.Integer()),
        sa.Column("subject", sa.LargeBinary()),
        sa.Column("window_end", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_arrivals")),
    )
    op.create_index(
        "ix_feedback_arrivals_unread",
        "feedback_arrivals",
        ["adapter_id", "at"],
        postgresql_where=sa.text("window_end IS NULL"),
    )
    op.create_index(
        "ix_feedback_arrivals_read",
        "feedback_arrivals",
        ["version_id", "window_end"],
        postgresql_where=sa.text("window_end IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("feedback_arrivals")
