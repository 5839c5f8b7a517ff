"""Axes of embeddings, coordinates along them, and embeddings of answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("record_embeddings", sa.Column("coordinates", sa.LargeBinary()))
    op.create_table(
        "record_outputs",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("similarity", sa.REAL()),
        sa.Column("coordinates", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_record_outputs")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "reference_outputs",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_outputs_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "chunk", name=op.f("pk_reference_outputs")),
    )
    op.create_table(
        "reference_axes",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("text IN ('prompt', 'output')", name=op.f("ck_reference_axes_text")),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_axes_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "text", name=op.f("pk_reference_axes")),
    )
    for table, column in (("record_outputs", "embedding"), ("reference_outputs", "vectors")):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    for table in ("reference_axes", "reference_outputs", "record_outputs"):
        op.drop_table(table)
    op.drop_column("record_embeddings", "coordinates")
