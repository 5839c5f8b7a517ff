"""Pages are read from a standby while it is close, and from the primary in any other case."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from monitor.store import schema, standby
from monitor.store.database import Database
from monitor.store.registry import adapters
from tests.servers import pair
from tests.service import until

pytestmark = pytest.mark.skipif(
    choose_account(find_binaries()).switch, reason="the kernel refuses user namespaces"
)

NOTE = sa.text(
    "INSERT INTO flags (name, value, actor)"
    " VALUES ('clock', jsonb_build_object('seen', clock_timestamp()), 'x')"
)
WHERE = sa.text("SELECT pg_is_in_recovery()")


@pytest.fixture(autouse=True)
def on_pages() -> Iterator[None]:
    standby.read_pages()
    yield
    standby.read_pages(on=False)


def _reads_standby(database: Database) -> bool:
    return bool(database.run(lambda tx: tx.execute(WHERE).scalar_one()))


def test_pages_follow_the_standby_and_leave_it_as_it_deserves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "LOOK_S", 0.0)
    with pair(tmp_path, synchronous=False) as (first, second):
        database = Database(first.url, standby=second.url)
        schema.migrate(database)
        assert not _reads_standby(database), "no service has written its clock"
        with database.begin() as tx:
            tx.execute(NOTE)
            adapters.put(tx, name="support")
        until(lambda: _reads_standby(database), "the standby to follow")
        assert [one.name for one in database.run(adapters.fetch_all)] == ["support"]

        standby.read_pages(on=False)
        assert not _reads_standby(database), "what decides reads the primary"
        standby.read_pages()
        with standby.primary():
            assert not _reads_standby(database), "a key made a moment ago is not there yet"
        assert _reads_standby(database)

        database.changed()
        assert not _reads_standby(database), "whoever sent a form finds it done"
        monkeypatch.setattr(standby, "OWN_S", 0.0)
        database.changed()
        assert _reads_standby(database)

        made = database.run(lambda tx: adapters.put(tx, name="billing"))
        assert made.name == "billing", "what writes all the same is done by the primary"
        until(lambda: _reads_standby(database), "another look")

        monkeypatch.setattr(standby, "MOST_BEHIND", timedelta(seconds=-1))
        assert not _reads_standby(database), "it is behind"
        monkeypatch.setattr(standby, "MOST_BEHIND", timedelta(minutes=5))
        assert _reads_standby(database)

        second.kill()
        assert not _reads_standby(database), "it is away"
        second.start()
        until(lambda: _reads_standby(database), "the standby to be back")
        second.promote()
        assert not _reads_standby(database), "it has been promoted"
        database.close()


def test_a_primary_is_no_standby(tmp_path: Path) -> None:
    with pair(tmp_path, synchronous=False) as (first, _):
        database = Database(first.url, standby=first.url)
        schema.migrate(database)
        with database.begin() as tx:
            tx.execute(NOTE)
        assert not _reads_standby(database)
        with psycopg.connect(first.conninfo) as session:
            assert session.execute("SELECT 1").fetchone() == (1,)
        database.close()
