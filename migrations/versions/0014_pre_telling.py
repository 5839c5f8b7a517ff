"""Messages that wait to be told, those that are sent as one, and silences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")


def upgrade() -> None:
    op.add_column("outbox", sa.Column("group_key", sa.Text()))
    op.add_column("outbox", sa.Column("batch", sa.UUID()))
    op.create_index(
        "ix_outbox_batch", "outbox", ["batch"], postgresql_where=sa.text("batch IS NOT NULL")
    )
    op.create_index("ix_incidents_closed_at", "incidents", ["closed_at"])
    op.create_table(
        "held",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("transition_id", sa.BigInteger()),
        sa.Column("alert", JSONB(), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_held_incident_id")
        ),
        sa.ForeignKeyConstraint(
            ["transition_id"], ["transitions.id"], name=op.f("fk_held_transition_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held")),
        sa.UniqueConstraint("seq", name=op.f("uq_held_seq")),
    )
    op.create_index("ix_held_incident_id", "held", ["incident_id"])
    op.create_table(
        "silences",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("match", JSONB(), nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index("ix_silences_ends_at", "silences", ["ends_at"])


def downgrade() -> None:
    op.drop_table("silences")
    op.drop_table("held")
    op.drop_index("ix_incidents_closed_at", table_name="incidents")
    op.drop_index("ix_outbox_batch", table_name="outbox")
    op.drop_column("outbox", "batch")
    op.drop_column("outbox", "group_key")
