"""What a model is (perplexity in full, identity, weight health), and declared changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_EMPTY = sa.text("'{}'::jsonb")


def upgrade() -> None:
    _extend_perplexity_runs()
    _create_identity_checks()
    _create_weight_inspections()
    _create_changes()


def _extend_perplexity_runs() -> None:
    op.alter_column("perplexity_runs", "version_id", nullable=True)
    for name in ("dtype", "source", "weights", "retired_because"):
        op.add_column("perplexity_runs", sa.Column(name, sa.Text()))
    op.add_column("perplexity_runs", sa.Column("retired_at", _TIME))
    op.create_index(
        "ix_perplexity_runs_base",
        "perplexity_runs",
        ["model", "corpus", "at"],
        postgresql_where=sa.text("version_id IS NULL"),
    )


def _create_identity_checks() -> None:
    op.create_table(
        "identity_checks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text()) for name in ("base", "sibling", "replica", "engine")),
        sa.Column("kl", sa.Double()),
        sa.Column("nll_difference", sa.Double()),
        sa.Column("details", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("retired_at", _TIME),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_identity_checks_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_checks")),
    )
    op.create_index(
        op.f("ix_identity_checks_version_id_at"), "identity_checks", ["version_id", "at"]
    )


def _create_weight_inspections() -> None:
    op.create_table(
        "weight_inspections",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("weights", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("report", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_weight_inspections_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_weight_inspections")),
    )


def _create_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("adapters", postgresql.ARRAY(sa.Text())),
        sa.Column("begun_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_begun_at"), "changes", ["begun_at"])


def downgrade() -> None:
    for table in ("changes", "weight_inspections", "identity_checks"):
        op.drop_table(table)
    op.drop_index("ix_perplexity_runs_base", "perplexity_runs")
    for name in ("retired_at", "retired_because", "weights", "source", "dtype"):
        op.drop_column("perplexity_runs", name)
    op.execute(
        "DELETE FROM perplexity_documents WHERE run_id IN"
        " (SELECT id FROM perplexity_runs WHERE version_id IS NULL)"
    )
    op.execute("DELETE FROM perplexity_runs WHERE version_id IS NULL")
    op.alter_column("perplexity_runs", "version_id", nullable=False)
