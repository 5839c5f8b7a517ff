"""Store what a version expects at each token, so that other weights can be told from its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("identity_checks", sa.Column("reading", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("identity_checks", "reading")
