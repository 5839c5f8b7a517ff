"""When each document was read, and by which process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("perplexity_documents", sa.Column("read_at", sa.DateTime(timezone=True)))
    op.add_column("perplexity_runs", sa.Column("made_by", sa.Text()))


def downgrade() -> None:
    op.drop_column("perplexity_runs", "made_by")
    op.drop_column("perplexity_documents", "read_at")
