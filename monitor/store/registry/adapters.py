"""Store adapters: the names that clients ask for, and their owners."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import Adapter, AdapterId, Mode
from monitor.store.errors import NotFound
from monitor.store.rows import shaped
from monitor.store.tables.registry import adapters


def put(
    connection: Connection,
    *,
    name: str,
    owner: str | None = None,
    tier: str = "standard",
    labels: Mapping[str, str] | None = None,
    runbook: str | None = None,
    mode: Mode | None = None,
) -> Adapter:
    """Register an adapter, or replace all its attributes (PUT)."""
    values = {
        "owner": owner,
        "tier": tier,
        "labels": dict(labels or {}),
        "runbook": runbook,
        "mode": mode,
    }
    statement = (
        insert(adapters)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
        .returning(adapters)
    )
    return _adapter(connection.execute(statement).mappings().one())


def fetch(connection: Connection, name: str) -> Adapter | None:
    """Return the adapter of this name, if it is registered."""
    query = sa.select(adapters).where(adapters.c.name == name)
    row = connection.execute(query).mappings().one_or_none()
    return _adapter(row) if row else None


def fetch_by_id(connection: Connection, adapter_id: AdapterId) -> Adapter:
    """Return an adapter that must exist; raises ``NotFound``."""
    query = sa.select(adapters).where(adapters.c.id == adapter_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no adapter with id {adapter_id}")
    return _adapter(row)


def hold(connection: Connection, adapter_id: AdapterId) -> None:
    """Lock an adapter: its canaries and retraining requests begin one at a time.

    Records and other rows that reference the adapter can still be written meanwhile.
    """
    guard = sa.select(adapters.c.id).where(adapters.c.id == adapter_id)
    connection.execute(guard.with_for_update(key_share=True)).one()


def fetch_all(connection: Connection) -> list[Adapter]:
    """Return all adapters, sorted by name."""
    query = sa.select(adapters).order_by(adapters.c.name)
    return [_adapter(row) for row in connection.execute(query).mappings()]


def unknown(connection: Connection, names: Collection[str]) -> list[str]:
    """Return the ``names`` that no adapter has, sorted."""
    query = sa.select(adapters.c.name).where(adapters.c.name.in_(names))
    known = set(connection.execute(query).scalars())
    return sorted(set(names) - known)


def _adapter(row: RowMapping) -> Adapter:
    return shaped(Adapter, row, mode=Mode(row["mode"]) if row["mode"] else None)
