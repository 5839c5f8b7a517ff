"""The server is killed in the middle of a migration, and the migration ends well."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from monitor.postgres import EmbeddedPostgres, ServerSettings
from monitor.postgres.process import live_postmaster
from monitor.store import schema
from monitor.store.database import Database
from monitor.store.tables import metadata

SMALL = ServerSettings(shared_buffers="16MB")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_server_that_is_restarted_during_a_migration_is_migrated_all_the_same(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Before, ``driftline serve`` ended with the error of the lost connection."""
    places = iter(["CREATE TABLE verdicts", "ALTER TABLE", "CREATE FUNCTION driftline_drop_day"])
    with EmbeddedPostgres(tmp_path, settings=SMALL) as server:
        database = Database(server.url)
        awaited = [next(places)]

        def restart(*arguments: Any) -> None:
            statement = str(arguments[2]).strip()
            if awaited and statement.startswith(awaited[0]):
                awaited[:] = [one for one in [next(places, None)] if one]
                found = live_postmaster(tmp_path / "postgres" / "cluster")
                assert found is not None
                os.kill(found.pid, number)

        sa.event.listen(database.engine, "before_cursor_execute", restart)
        schema.migrate(database)
        assert awaited == []
        with database.begin() as tx:
            assert schema.at_head(tx)
            command.check(schema.alembic_config(tx))
            made = set(sa.inspect(tx).get_table_names())
        assert {table.name for table in metadata.sorted_tables} <= made
        database.close()
