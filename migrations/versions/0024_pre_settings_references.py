"""References of settings that a version's reference has not, beside it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "settings_references",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("strata", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("n_baseline", sa.Integer(), nullable=False),
        sa.Column("span_days", sa.Double(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settings_references")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_settings_references_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_settings_references_reference_id")
        ),
    )
    op.create_index(
        op.f("ix_settings_references_reference_id"), "settings_references", ["reference_id"]
    )
    op.create_table(
        "settings_calibrations",
        sa.Column("settings_id", sa.BigInteger(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("settings_id", "detector", name=op.f("pk_settings_calibrations")),
        sa.ForeignKeyConstraint(
            ["settings_id"],
            ["settings_references.id"],
            name=op.f("fk_settings_calibrations_settings_id"),
        ),
    )


def downgrade() -> None:
    op.drop_table("settings_calibrations")
    op.drop_table("settings_references")
