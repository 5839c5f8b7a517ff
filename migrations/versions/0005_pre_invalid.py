"""Whether an answer that was to be JSON or a call of a tool is none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("invalid", sa.Boolean()))


def downgrade() -> None:
    op.drop_column("records", "invalid")
