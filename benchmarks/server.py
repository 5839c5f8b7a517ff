"""A database for benchmarks: embedded, at head, gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.postgres import EmbeddedPostgres
from monitor.store import schema
from monitor.store.database import Database


@contextmanager
def postgres() -> Iterator[Database]:
    """Open a migrated database on an embedded server with the default settings."""
    with (
        tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder,
        EmbeddedPostgres(Path(folder)) as server,
    ):
        database = Database(server.url)
        try:
            schema.migrate(database)
            yield database
        finally:
            database.close()
