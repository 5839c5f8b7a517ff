"""Store routes that routers report to hold in place of the one in force."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import Edition
from monitor.store.tables.registry import adapters
from monitor.store.tables.traffic import route_refusals

HEARD_FOR: Final = timedelta(minutes=3)
"""A router reports each minute; after this silence it counts as holding nothing."""
MOST_ROUTERS: Final = 256
"""More routers than exist anywhere, so that invented names fill no table."""


def note(tx: Connection, router: str, held: Mapping[str, Edition]) -> None:
    """Replace a router's report of the routes it holds against the table.

    Adapters that are not registered here are ignored.
    """
    known = sa.select(adapters.c.id).where(adapters.c.name.in_(held))
    stale = route_refusals.c.said_at < sa.func.now() - HEARD_FOR
    over = (route_refusals.c.router == router) & route_refusals.c.adapter_id.not_in(known)
    tx.execute(route_refusals.delete().where(stale | over))
    ids = tx.execute(sa.select(adapters.c.id, adapters.c.name).where(adapters.c.name.in_(held)))
    rows = [
        {
            "adapter_id": row.id,
            "router": router,
            "epoch": held[row.name].epoch,
            "generation": held[row.name].generation,
        }
        for row in ids
    ]
    if not rows or len(_others(tx, router)) >= MOST_ROUTERS:
        return
    said = insert(route_refusals).values(rows)
    kept = {name: said.excluded[name] for name in ("epoch", "generation", "said_at")}
    tx.execute(said.on_conflict_do_update(index_elements=["adapter_id", "router"], set_=kept))


def _others(tx: Connection, router: str) -> list[str]:
    names = sa.select(route_refusals.c.router).where(route_refusals.c.router != router)
    return list(tx.scalars(names.distinct()))
