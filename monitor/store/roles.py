"""Grant the service's role exactly the rights that its work needs.

The owner of the tables migrates. The service reads and writes rows, and only appends to the audit;
it creates and drops partitions through the owner's functions. So an attacker who makes it run other
statements can neither change the audit nor drop tables.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.tables.columns import metadata

ROWS: Final = "SELECT, INSERT, UPDATE, DELETE"
LESS: Final = {"audit": "SELECT, INSERT", "alembic_version": "SELECT"}
"""Tables with fewer rights."""
FUNCTIONS: Final = ("driftline_make_day(text, date, date)", "driftline_drop_day(text)")


def wanted() -> dict[str, str]:
    """Return the rights per table."""
    return {table.name: LESS.get(table.name, ROWS) for table in metadata.sorted_tables} | {
        "alembic_version": LESS["alembic_version"]
    }


def lacking(tx: Connection, role: str) -> bool:
    """True if the role lacks a right."""
    tables = any(
        not tx.execute(_HAS_TABLE, {"role": role, "table": f'"{table}"', "right": right}).scalar()
        for table, rights in wanted().items()
        for right in rights.split(", ")
    )
    functions = any(
        not tx.execute(_HAS_FUNCTION, {"role": role, "function": function}).scalar()
        for function in FUNCTIONS
    )
    views = bool(tx.execute(_LACKS_VIEWS, {"role": role}).scalar())
    return tables or functions or views


def grant(tx: Connection, role: str) -> None:
    """As the owner, grant the role what it needs and revoke the rest."""
    named, schema = tx.execute(
        sa.text("SELECT quote_ident(:role), quote_ident(current_schema())"), {"role": role}
    ).one()
    tx.execute(sa.text(f"GRANT USAGE ON SCHEMA {schema} TO {named}"))
    for table, rights in wanted().items():
        tx.execute(sa.text(f'REVOKE ALL ON "{table}" FROM {named}'))
        tx.execute(sa.text(f'GRANT {rights} ON "{table}" TO {named}'))
    tx.execute(sa.text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {named}"))
    for function in FUNCTIONS:
        # a database restored without rights has this from PostgreSQL's own defaults
        tx.execute(sa.text(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
        tx.execute(sa.text(f"GRANT EXECUTE ON FUNCTION {function} TO {named}"))
    if (views := tx.execute(_TEAM_SCHEMA).scalar()) is not None:
        tx.execute(sa.text(f"GRANT USAGE ON SCHEMA {views} TO {named}"))
        tx.execute(sa.text(f"GRANT SELECT ON ALL TABLES IN SCHEMA {views} TO {named}"))


def excess(tx: Connection) -> str | None:
    """Describe the excess rights of this connection's role in one sentence; None if none."""
    role, superuser, owner, rewrites = tx.execute(_EXCESS).one()
    may = [
        what
        for is_so, what in (
            (superuser, "is a superuser"),
            (owner and not superuser, "owns the audit"),
            (rewrites and not owner and not superuser, "may rewrite the audit"),
        )
        if is_so
    ]
    if not may:
        return None
    return f"the database's role {role} {' and '.join(may)}: the service needs no such right"


_HAS_TABLE: Final = sa.text("SELECT has_table_privilege(:role, :table, :right)")
_HAS_FUNCTION: Final = sa.text("SELECT has_function_privilege(:role, :function, 'EXECUTE')")
_TEAM_SCHEMA: Final = sa.text(
    "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname = current_schema() || '_team'"
)
_LACKS_VIEWS: Final = sa.text(
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() || '_team' AND c.relkind = 'v'"
    " AND NOT (has_schema_privilege(:role, n.oid, 'USAGE')"
    " AND has_table_privilege(:role, c.oid, 'SELECT'))"
)
_EXCESS: Final = sa.text(
    """
    SELECT current_user, rolsuper,
        pg_has_role(current_user, relowner, 'MEMBER'),
        has_table_privilege('audit', 'UPDATE, DELETE, TRUNCATE')
    FROM pg_roles, pg_class
    WHERE rolname = current_user AND pg_class.oid = 'audit'::regclass
    """
)
