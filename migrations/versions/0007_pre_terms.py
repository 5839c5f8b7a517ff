"""Hashes of a prompt's terms, and the words of those that many subjects used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("record_embeddings", sa.Column("terms", sa.LargeBinary()))
    op.create_table(
        "terms",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("term", sa.LargeBinary(), nullable=False),
        sa.Column("subjects", ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("word", sa.Text()),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["adapter_id"], ["adapters.id"], name=op.f("fk_terms_adapter_id")),
        sa.PrimaryKeyConstraint("adapter_id", "term", name=op.f("pk_terms")),
    )


def downgrade() -> None:
    op.drop_table("terms")
    op.drop_column("record_embeddings", "terms")
