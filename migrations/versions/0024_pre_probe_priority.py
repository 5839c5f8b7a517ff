"""What a run of the perplexity probe cost its engine, and which task others wait behind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("perplexity_runs", sa.Column("seconds", sa.Double()))
    op.add_column(
        "tasks", sa.Column("first", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("tasks", "first")
    op.drop_column("perplexity_runs", "seconds")
