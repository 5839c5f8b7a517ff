"""How many dead letters each channel has, without reading every message that was ever sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_outbox_dead", "outbox", ["channel"], postgresql_where=sa.text("state = 'dead'")
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_dead", table_name="outbox")
