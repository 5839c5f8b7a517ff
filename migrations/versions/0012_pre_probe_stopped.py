"""Why the last try of a task gave no answer, until one does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("stopped", sa.Text()))


def downgrade() -> None:
    op.drop_column("tasks", "stopped")
