"""Axes of embeddings, and coordinates along them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("record_embeddings", sa.Column("coordinates", sa.LargeBinary()))
    op.create_table(
        "reference_axes",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("text IN ('prompt')", name=op.f("ck_reference_axes_text")),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_axes_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "text", name=op.f("pk_reference_axes")),
    )


def downgrade() -> None:
    op.drop_table("reference_axes")
    op.drop_column("record_embeddings", "coordinates")
