"""Keep the beginnings of training texts beside their vectors, where texts are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reference_vectors", sa.Column("texts", postgresql.ARRAY(sa.Text())))


def downgrade() -> None:
    op.drop_column("reference_vectors", "texts")
