"""Incidents of a base model: one for all adapters that move together, and who they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.alter_column("incidents", "adapter_id", nullable=True)
    op.add_column("incidents", sa.Column("base_model", sa.Text()))
    op.add_column("incidents", sa.Column("part_of", sa.BigInteger()))
    op.create_foreign_key(
        op.f("fk_incidents_part_of"), "incidents", "incidents", ["part_of"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_incidents_of_whom"),
        "incidents",
        "(adapter_id IS NULL) = (base_model IS NOT NULL)",
    )
    op.create_index(
        "ix_incidents_fleet",
        "incidents",
        ["base_model", "kind", "number"],
        unique=True,
        postgresql_where=sa.text("base_model IS NOT NULL"),
    )
    op.create_table(
        "fleet_members",
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("joined_at", _TIME, nullable=False),
        sa.Column("left_at", _TIME),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_fleet_members_incident_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_fleet_members_version_id")
        ),
        sa.PrimaryKeyConstraint("incident_id", "version_id", name=op.f("pk_fleet_members")),
    )
    op.create_index(
        "ix_fleet_members_in",
        "fleet_members",
        ["version_id"],
        postgresql_where=sa.text("left_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("fleet_members")
    op.drop_index("ix_incidents_fleet", "incidents")
    op.drop_constraint(op.f("ck_incidents_of_whom"), "incidents")
    op.drop_constraint(op.f("fk_incidents_part_of"), "incidents")
    fleets = "(SELECT id FROM incidents WHERE base_model IS NOT NULL)"
    op.execute(f"DELETE FROM outbox WHERE incident_id IN {fleets}")
    op.execute("DELETE FROM incidents WHERE base_model IS NOT NULL")
    for name in ("part_of", "base_model"):
        op.drop_column("incidents", name)
    op.alter_column("incidents", "adapter_id", nullable=False)
