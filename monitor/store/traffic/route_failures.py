"""Store routes in force that their router could not be told, until it could."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import Route
from monitor.store.tables.registry import adapters
from monitor.store.tables.traffic import route_failures


def note(tx: Connection, route: Route, *, why: str) -> None:
    """Store that the router does not follow this generation; the first time stays."""
    named = sa.select(
        adapters.c.id, sa.literal(route.generation), sa.literal(why), sa.func.now()
    ).where(adapters.c.name == route.adapter)
    columns = ["adapter_id", "generation", "why", "since"]
    row = insert(route_failures).from_select(columns, named)
    same = route_failures.c.generation == row.excluded.generation
    kept = {
        "generation": row.excluded.generation,
        "why": row.excluded.why,
        "since": sa.case((same, route_failures.c.since), else_=row.excluded.since),
    }
    tx.execute(row.on_conflict_do_update(index_elements=["adapter_id"], set_=kept))


def clear(tx: Connection, adapter: str) -> None:
    """Note that the router follows the route."""
    named = sa.select(adapters.c.id).where(adapters.c.name == adapter).scalar_subquery()
    tx.execute(route_failures.delete().where(route_failures.c.adapter_id == named))
