"""Which adapters an ingest key may send for; keys that are there may for all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0027"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("match", JSONB(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("keys", "match")
