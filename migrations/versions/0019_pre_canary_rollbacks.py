"""How many canaries were rolled back lately, without reading every look at any of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_canary_looks_rollbacks",
        "canary_looks",
        ["at"],
        postgresql_where=sa.text("phase = 'rolling_back'"),
    )


def downgrade() -> None:
    op.drop_index("ix_canary_looks_rollbacks", table_name="canary_looks")
