"""Store who trains what was asked for, how far it is, and how it ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "trainings",
        sa.Column("retraining_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("made", sa.Text()),
        sa.Column("lease_until", _TIME),
        sa.Column("began_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", _TIME),
        sa.PrimaryKeyConstraint("retraining_id", name=op.f("pk_trainings")),
        sa.ForeignKeyConstraint(
            ["retraining_id"], ["retrainings.id"], name=op.f("fk_trainings_retraining_id")
        ),
    )


def downgrade() -> None:
    op.drop_table("trainings")
