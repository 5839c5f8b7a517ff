"""Store Evidently's reports for a day, so that people can open one that a worker drew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("version_id", sa.Integer, sa.ForeignKey("versions.id"), nullable=False),
        sa.Column("start_at", TIME, nullable=False),
        sa.Column("end_at", TIME, nullable=False),
        sa.Column("requested_at", TIME, nullable=False, server_default=sa.text("now()")),
        sa.Column("lease_until", TIME),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("progress", sa.Double, nullable=False, server_default="0"),
        sa.Column("finished_at", TIME),
        sa.Column("error", sa.Text),
        sa.Column("facts", JSONB),
        sa.Column("page", sa.LargeBinary),
        sa.Column("snapshot", sa.LargeBinary),
        sa.UniqueConstraint("version_id", "start_at", "end_at"),
    )


def downgrade() -> None:
    op.drop_table("reports")
