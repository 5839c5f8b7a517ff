"""Alembic's entry: migrate the connection it is given, or the database of the environment."""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import context
from sqlalchemy import Connection

from monitor.store.partitions import is_partition
from monitor.store.tables.columns import metadata


def _compared(name: str | None, kind: str, _parents: object) -> bool:
    """Leave daily partitions out of comparisons: they come and go with the days."""
    return not (kind == "table" and name is not None and is_partition(name))


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=_compared,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _connect_and_run() -> None:
    engine = sa.create_engine(os.environ["DRIFTLINE_DATABASE__URL"])
    with engine.begin() as connection:
        _run(connection)
    engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    _connect_and_run()
else:
    _run(given)
