"""Which table of routes this is, and which routers hold a newer one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.text("now()")
    op.create_table(
        "route_epochs",
        sa.Column("epoch", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("written_by", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_route_epochs")),
    )
    op.create_table(
        "route_refusals",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("router", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.PrimaryKeyConstraint("adapter_id", "router", name=op.f("pk_route_refusals")),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_route_refusals_adapter_id")
        ),
    )
    op.execute(_MARK)


def downgrade() -> None:
    op.execute("DROP FUNCTION driftline_server()")
    op.drop_table("route_refusals")
    op.drop_table("route_epochs")


_MARK = """
CREATE FUNCTION driftline_server() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  cluster text;
BEGIN
  IF pg_is_in_recovery() THEN
    RETURN NULL;
  END IF;
  SELECT system_identifier INTO cluster FROM pg_control_system();
  -- a server that was recovered, or promoted, writes on a new timeline
  RETURN concat_ws('/', cluster,
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    left(pg_walfile_name(pg_current_wal_lsn()), 8));
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;  -- some providers keep this to themselves
END
$$
"""
