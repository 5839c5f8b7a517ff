"""What a run of the perplexity probe cost its engine: how often all of them can be made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("perplexity_runs", sa.Column("seconds", sa.Double()))


def downgrade() -> None:
    op.drop_column("perplexity_runs", "seconds")
