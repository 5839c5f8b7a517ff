"""From the names in a path to the rows they mean, or the 404 that says which is unknown."""

from __future__ import annotations

from sqlalchemy import Connection

from monitor.api.problems import Problem
from monitor.domain import Adapter, Version
from monitor.store import adapters, versions


def adapter(tx: Connection, name: str) -> Adapter:
    """Give the adapter called ``name``."""
    found = adapters.fetch(tx, name)
    if found is None:
        raise Problem(404, f"No adapter is called {name!r}.", kind="unknown-adapter")
    return found


def version(tx: Connection, of: str, name: str) -> Version:
    """Give version ``name`` of the adapter ``of``."""
    adapter(tx, of)
    found = versions.fetch(tx, adapter=of, name=name)
    if found is None:
        raise Problem(404, f"{of!r} has no version {name!r}.", kind="unknown-version")
    return found
