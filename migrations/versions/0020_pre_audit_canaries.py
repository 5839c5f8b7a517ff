"""What became of canaries lately, without reading everything that was ever done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_audit_canaries",
        "audit",
        ["id"],
        postgresql_where=sa.text("\"left\"(act, 7) = 'canary.'"),
    )


def downgrade() -> None:
    op.drop_index("ix_audit_canaries", table_name="audit")
