"""Baselines are kept so that they can be replayed, and the reports of self-tests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "reference_baselines",
        sa.Column("reference_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_baselines_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", name=op.f("pk_reference_baselines")),
    )
    op.create_table(
        "selftests",
        sa.Column("version_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("requested_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("finished_at", _TIME),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("report", JSONB()),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_selftests_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_selftests_reference_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_selftests")),
    )


def downgrade() -> None:
    op.drop_table("selftests")
    op.drop_table("reference_baselines")
