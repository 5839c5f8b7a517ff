"""How much of its window each evaluation compared, and a sum for each day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evaluations", sa.Column("coverage", JSONB(), nullable=True))
    op.create_table(
        "coverage_days",
        sa.Column("version_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_coverage_days_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "day", name=op.f("pk_coverage_days")),
    )


def downgrade() -> None:
    op.drop_table("coverage_days")
    op.drop_column("evaluations", "coverage")
