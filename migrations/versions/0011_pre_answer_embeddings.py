"""Embeddings of answers, and the axes they are placed along."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_CHECK = "ck_reference_axes_text"


def upgrade() -> None:
    op.create_table(
        "answer_embeddings",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("placed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_answer_embeddings")),
        postgresql_partition_by="RANGE (at)",
    )
    op.execute("ALTER TABLE answer_embeddings ALTER COLUMN embedding SET STORAGE EXTERNAL")
    op.drop_constraint(op.f(_CHECK), "reference_axes")
    op.create_check_constraint(op.f(_CHECK), "reference_axes", "text IN ('prompt', 'output')")


def downgrade() -> None:
    op.execute("DELETE FROM reference_axes WHERE text = 'output'")
    op.drop_constraint(op.f(_CHECK), "reference_axes")
    op.create_check_constraint(op.f(_CHECK), "reference_axes", "text IN ('prompt')")
    op.drop_table("answer_embeddings")
