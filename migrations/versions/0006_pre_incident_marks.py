"""What people say of an incident afterwards: that its page was false, or that it is the norm."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incidents", sa.Column("marked", sa.Text()))
    op.add_column("incidents", sa.Column("marked_by", sa.Text()))
    op.add_column("incidents", sa.Column("marked_at", sa.DateTime(timezone=True)))
    op.add_column("incidents", sa.Column("marked_because", sa.Text()))


def downgrade() -> None:
    for name in ("marked_because", "marked_at", "marked_by", "marked"):
        op.drop_column("incidents", name)
