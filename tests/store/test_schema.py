import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from monitor.store import audit, partitions, schema, teams
from monitor.store.database import Database
from monitor.store.tables.columns import metadata


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def _tables(database: Database) -> set[str]:
    with database.begin() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_migrations_build_exactly_the_tables_of_the_code(database: Database) -> None:
    said = io.StringIO()
    with database.begin() as connection:
        config = schema.alembic_config(connection)
        config.stdout = said
        command.check(config)  # raises where it finds a difference
    assert said.getvalue() == "No new upgrade operations detected.\n"


def test_up_down_up_leaves_nothing_behind_and_ends_at_head(empty: Database) -> None:
    schema.migrate(empty)
    with empty.begin() as connection:
        teams.drop(connection)
        command.downgrade(schema.alembic_config(connection), "base")
    assert _tables(empty) == {"alembic_version"}
    with empty.begin() as connection:
        functions = sa.text("SELECT count(*) FROM pg_proc WHERE proname = 'audit_refuses_change'")
        assert connection.execute(functions).scalar_one() == 0
    schema.migrate(empty)
    with empty.begin() as connection:
        assert schema.at_head(connection)


def test_an_empty_database_is_not_at_head(empty: Database) -> None:
    with empty.begin() as connection:
        assert not schema.at_head(connection)


def test_daemons_that_start_together_migrate_once(empty: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(schema.migrate, empty) for _ in range(4)]:
            done.result()
    assert {table.name for table in metadata.sorted_tables} <= _tables(empty)


def test_a_migration_is_durable_as_a_second_connection_sees(
    empty: Database, database_url: str
) -> None:
    schema.migrate(empty)
    other = Database(database_url)
    with other.begin() as connection:
        assert schema.at_head(connection)
    other.close()


def test_a_migration_gives_up_on_a_locked_table_and_says_so(
    empty: Database, database_url: str
) -> None:
    schema.migrate(empty)
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
        connection.execute(sa.text("DELETE FROM alembic_version"))
    plain = database_url.replace("+psycopg", "")
    with psycopg.connect(plain) as reader:
        reader.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(sa.exc.OperationalError):
            schema.migrate(empty, lock_timeout=timedelta(milliseconds=50), tries=2)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"]
)
def test_the_audit_refuses_every_change(database: Database, statement: str) -> None:
    database.run(lambda tx: audit.append(tx, actor="ann", act="route", subject="support"))
    with (
        pytest.raises(sa.exc.ProgrammingError, match="append-only"),
        database.begin() as connection,
    ):
        connection.execute(sa.text(statement))


def test_float_arrays_are_stored_without_trying_to_compress_them(database: Database) -> None:
    query = sa.text(
        "SELECT attstorage::text FROM pg_attribute"
        " WHERE attrelid = CAST(:table AS regclass) AND attname = :column"
    )
    with database.begin() as connection:
        for table, column in [("record_tokens", "nll"), ("record_embeddings", "embedding")]:
            found = connection.execute(query, {"table": table, "column": column}).scalar_one()
            assert found == "e"


def test_the_head_that_the_code_knows_is_the_newest_migration() -> None:
    scripts = ScriptDirectory.from_config(schema.alembic_config())
    assert list(scripts.get_heads()) == [schema.HEAD]


def test_a_start_drops_nothing_that_a_longer_retention_keeps(database: Database) -> None:
    old = (datetime.now(UTC) - timedelta(days=150)).date()
    database.run(lambda tx: partitions.ensure(tx, [old], tables=["records"]))
    schema.migrate(database)
    assert f"records_{old:%Y%m%d}" in database.run(partitions.existing)
