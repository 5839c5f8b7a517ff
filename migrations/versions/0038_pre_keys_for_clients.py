"""Let a key be limited to some requests a minute: keys of clients, for the gateway."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("per_minute", sa.Integer()))


def downgrade() -> None:
    op.drop_column("keys", "per_minute")
