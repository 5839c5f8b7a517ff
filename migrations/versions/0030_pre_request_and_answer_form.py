"""How a request begins, as a few bits of a keyed hash, and in what form its answer comes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # a newer writer may have been given them before the rest of the schema came
    op.add_column("records", sa.Column("prompt_prefix", sa.Integer()), if_not_exists=True)
    op.add_column("records", sa.Column("answer_format", sa.SmallInteger()), if_not_exists=True)


def downgrade() -> None:
    op.drop_column("records", "answer_format")
    op.drop_column("records", "prompt_prefix")
