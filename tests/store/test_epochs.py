"""The epoch of the route table: the same while the database is, newer once it is another."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import make_url

from monitor.domain import ArmKind, Edition
from monitor.postgres.binaries import find_binaries
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.traffic import epochs, route_refusals, routes
from monitor.store.traffic.routes import GenerationConflict
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from tests.fleet import NOW, register

FAR = 8_000_000_000
"""In the year 2223: what a clock may have said that was wrong."""


def epoch_of(database: Database) -> int:
    return database.run(epochs.in_force)


def program(name: str, database: Database, *words: str) -> None:
    """Run one of PostgreSQL's programs on the database."""
    with database.engine.connect() as connection:
        info = connection.connection.driver_connection.info  # type: ignore[union-attr]
    subprocess.run(
        [find_binaries().bin / name, "-d", info.dsn, *words],
        env=os.environ | {"PGPASSWORD": info.password},
        check=True,
    )


@contextmanager
def another(postgres: str, *, template: str = "template0") -> Iterator[Database]:
    name = f"test_{secrets.token_hex(6)}"
    plain = postgres.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(made.format(sql.Identifier(name), sql.Identifier(template)))
        url = make_url(postgres).set(database=name)
        opened = Database(url.render_as_string(hide_password=False))
        yield opened
        opened.close()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def first(database: Database) -> int:
    with database.begin() as tx:
        table.start(tx, register(tx), actor="ann", now=NOW)
    return epoch_of(database)


def test_it_begins_with_the_clock_and_stays(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(lambda _: epoch_of(database), range(16)))
    assert len(seen) == 1
    assert abs(seen.pop() - datetime.now(UTC).timestamp()) < 60
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = epoch_of(database)
        for way in ("FREEZE", "FULL"):
            connection.execute(sa.text(f"VACUUM ({way}) route_epochs"))
    assert epoch_of(database) == before


def test_one_that_was_opened_in_part_of_a_transaction_stays(database: Database) -> None:
    with database.begin() as tx, tx.begin_nested():
        opened = epochs.begin(tx, reason="restored", actor="ann")
    assert epoch_of(database) == opened


def test_a_copy_of_the_files_opens_a_newer_one(
    database: Database, first: int, postgres: str
) -> None:
    name = str(database.engine.url.database)
    database.engine.dispose()
    with another(postgres, template=name) as copy:
        assert epoch_of(copy) > first
        newest = copy.run(epochs.newest)
        (entry,) = copy.run(lambda tx: audit.newest(tx, subject=epochs.SUBJECT, limit=1))
    assert (newest.reason, newest.actor) == (
        "the database was restored, copied or promoted",
        "driftline",
    )
    assert entry.details["epoch"] == newest.number
    assert epoch_of(database) == first


def test_a_dump_that_is_restored_opens_a_newer_one(
    database: Database, first: int, postgres: str, tmp_path: Path
) -> None:
    dump = str(tmp_path / "dump")
    program("pg_dump", database, "-Fc", "-f", dump)
    with another(postgres) as copy:
        program("pg_restore", copy, dump)
        restored = epoch_of(copy)
        assert restored > first
        assert epoch_of(copy) == restored
        assert [one.edition for one in copy.run(routes.all_routes)] == [Edition(restored, 1)]


def test_rows_that_are_put_back_alone_open_a_newer_one(
    database: Database, first: int, tmp_path: Path
) -> None:
    dump = str(tmp_path / "dump")
    program("pg_dump", database, "-Fc", "-f", dump, "-t", "route_epochs")
    with database.begin() as tx:
        tx.execute(sa.text("TRUNCATE route_epochs"))
    program("pg_restore", database, "--data-only", dump)
    assert epoch_of(database) > first


def test_it_grows_although_the_clock_goes_back(database: Database) -> None:
    def as_if_the_clock_said(tx: sa.Connection) -> None:
        epochs.begin(tx, reason="the clock was wrong", actor="ann")
        tx.execute(sa.text("UPDATE route_epochs SET epoch = :far"), {"far": FAR})
        tx.execute(sa.text("UPDATE route_epochs SET written_by = xmin::text"))

    database.run(as_if_the_clock_said)
    assert epoch_of(database) == FAR
    assert database.run(lambda tx: epochs.begin(tx, reason="x", actor="ann")) == FAR + 1


def test_a_new_one_is_newer_than_what_routers_hold(database: Database, first: int) -> None:
    held = {"support": Edition(FAR, 4)}
    database.run(lambda tx: route_refusals.note(tx, "gateway", held))
    row = database.run(lambda tx: routes.row(tx, "support"))
    assert row is not None
    assert row.behind is not None
    assert f"gateway goes by generation 4 of epoch {FAR}" in row.behind.why
    assert f"refuses generation 1 of epoch {first}" in row.behind.why
    assert database.run(lambda tx: epochs.begin(tx, reason="x", actor="ann")) == FAR + 1
    row = database.run(lambda tx: routes.row(tx, "support"))
    assert row is not None
    assert row.behind is None  # it is about to take the route


def test_what_a_router_holds_is_forgotten_once_it_says_so_or_nothing(
    database: Database, first: int
) -> None:
    def behind() -> list[bool]:
        return [row.behind is not None for row in database.run(routes.rows)]

    held = {"support": Edition(first, 4), "nobody": Edition(first, 1)}
    for router in ("one", "other"):
        database.run(lambda tx, router=router: route_refusals.note(tx, router, held))  # type: ignore[misc]
    database.run(lambda tx: route_refusals.note(tx, "one", {}))
    assert behind() == [True]
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE route_refusals SET said_at = now() - interval '4 minutes'"))
    assert behind() == [False]
    database.run(lambda tx: route_refusals.note(tx, "one", {}))
    with database.begin() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM route_refusals")).scalar_one() == 0


def test_whoever_invents_routers_fills_no_table(database: Database, first: int) -> None:
    held = {"support": Edition(first, 4)}
    with database.begin() as tx:
        for number in range(route_refusals.MOST_ROUTERS + 9):
            route_refusals.note(tx, f"router {number}", held)
        count = tx.execute(sa.text("SELECT count(*) FROM route_refusals")).scalar_one()
    assert count == route_refusals.MOST_ROUTERS


def test_what_was_decided_in_another_epoch_is_not_written(database: Database, first: int) -> None:
    opened = database.run(lambda tx: epochs.begin(tx, reason="restored", actor="ann"))
    with pytest.raises(GenerationConflict, match=f"of epoch {opened}, not of {first}"):
        database.run(
            lambda tx: table.put(
                tx,
                "support",
                arms=[ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)],
                expected_generation=1,
                expected_epoch=first,
                reason="seen before the restore",
                actor="bob",
                now=NOW,
            )
        )
    assert [one.edition for one in database.run(routes.all_routes)] == [Edition(opened, 1)]
