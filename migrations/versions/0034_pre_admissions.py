"""Store each admission of a version: what was asked, and what its checks found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "admissions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text())),
        sa.Column("lease_until", _TIME),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("finished_at", _TIME),
        sa.Column("verdict", sa.Text()),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text())),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admissions")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_admissions_version_id")
        ),
    )
    op.create_index(op.f("ix_admissions_version_id_id"), "admissions", ["version_id", "id"])
    op.create_index(
        "ix_admissions_open",
        "admissions",
        ["id"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("admissions")
