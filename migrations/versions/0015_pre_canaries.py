"""Canaries and what each look at them found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_JSON = postgresql.JSONB()


def upgrade() -> None:
    op.create_table(
        "canaries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("control_id", sa.Integer(), nullable=False),
        sa.Column("plan", _JSON, nullable=False),
        sa.Column("state", _JSON, nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("latched", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("guards", _JSON, nullable=False),
        sa.Column(
            "unchecked",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("carried", _JSON, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("mode", sa.Text()),
        sa.Column("generation", sa.BigInteger()),
        sa.Column("measured_until", _TIME),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("next_look_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canaries")),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_canaries_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_canaries_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["control_id"], ["versions.id"], name=op.f("fk_canaries_control_id")
        ),
    )
    op.create_index(
        "ix_canaries_active",
        "canaries",
        ["adapter_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_canaries_latched", "canaries", ["adapter_id"], postgresql_where=sa.text("latched")
    )
    op.create_table(
        "canary_looks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("canary_id", sa.BigInteger(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("pause", sa.Text()),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("trial_requests", sa.Integer()),
        sa.Column("control_requests", sa.Integer()),
        sa.Column("guards", _JSON),
        sa.Column("failures", _JSON),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canary_looks")),
        sa.ForeignKeyConstraint(
            ["canary_id"], ["canaries.id"], name=op.f("fk_canary_looks_canary_id")
        ),
    )
    op.create_index(op.f("ix_canary_looks_canary_id_id"), "canary_looks", ["canary_id", "id"])


def downgrade() -> None:
    op.drop_table("canary_looks")
    op.drop_table("canaries")
