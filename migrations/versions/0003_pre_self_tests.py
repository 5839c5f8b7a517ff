"""Baselines as columns, and what self-tests on them found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "reference_baselines",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_baselines_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", name=op.f("pk_reference_baselines")),
    )
    op.create_table(
        "self_tests",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.BigInteger()),
        *(sa.Column(name, _TIME) for name in ("requested_at", "lease_until")),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("at", _TIME),
        sa.Column("passed", sa.Boolean()),
        sa.Column("reason", sa.Text()),
        sa.Column(
            "report", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_self_tests_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_self_tests_reference_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_self_tests")),
    )


def downgrade() -> None:
    op.drop_table("self_tests")
    op.drop_table("reference_baselines")
