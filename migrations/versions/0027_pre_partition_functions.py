"""Days are made and dropped by functions, so that who calls them need not own the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_REFUSED = "RAISE EXCEPTION '% is no {}', given USING ERRCODE = 'insufficient_privilege'"

_MAKE = f"""
CREATE FUNCTION driftline_make_day(given text, first date, beyond date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $$
DECLARE
    day text := given || to_char(first, '_YYYYMMDD');
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_partitioned_table JOIN pg_class ON pg_class.oid = partrelid
        WHERE relname = given AND relnamespace = current_schema()::regnamespace
    ) THEN
        {_REFUSED.format("table cut by time")};
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', day, given);
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        given, day, first || ' 00:00:00+00', beyond || ' 00:00:00+00'
    );
END $$
"""

_DROP = f"""
CREATE FUNCTION driftline_drop_day(given text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        JOIN pg_partitioned_table ON partrelid = inhparent
        WHERE child.relname = given AND child.relkind = 'r'
          AND child.relnamespace = current_schema()::regnamespace
    ) THEN
        {_REFUSED.format("day of a table cut by time")};
    END IF;
    EXECUTE format('DROP TABLE %I', given);
END $$
"""

_FUNCTIONS = ("driftline_make_day(text, date, date)", "driftline_drop_day(text)")


def upgrade() -> None:
    found = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    for made in (_MAKE, _DROP):
        op.execute(made.format(schema=found))
    for function in _FUNCTIONS:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")


def downgrade() -> None:
    for function in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
