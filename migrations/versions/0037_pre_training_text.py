"""Keep hashes of training texts, and whether an answer repeats one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("training_text", sa.Boolean()))
    op.add_column("reference_vectors", sa.Column("shingles", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("reference_vectors", "shingles")
    op.drop_column("records", "training_text")
