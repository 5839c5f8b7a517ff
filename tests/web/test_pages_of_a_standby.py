"""Pages that are asked for over HTTP are read from a standby, and without it from the primary."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import psycopg
import pytest

from monitor.domain import Scope
from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from monitor.store import clock, schema, standby
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.store.traffic import epochs
from tests.servers import Server, pair
from tests.service import until
from tests.serving import Serving, serving

pytestmark = pytest.mark.skipif(
    choose_account(find_binaries()).switch, reason="the kernel refuses user namespaces"
)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for, and a standby that a test has stopped from following is close."""
    monkeypatch.setattr(standby, "LOOK_S", 0.0)
    monkeypatch.setattr(standby, "OWN_S", 0.0)
    monkeypatch.setattr(standby, "MOST_BEHIND", timedelta(days=1))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    with pair(tmp_path, synchronous=False) as started:
        yield started


@pytest.fixture
def service(servers: tuple[Server, Server], tmp_path: Path) -> Iterator[Serving]:
    first, second = servers
    database = Database(first.url, standby=second.url)
    schema.migrate(database)
    with serving(database, tmp_path) as running:
        yield running
    database.close()


@pytest.fixture
def person(service: Serving) -> Iterator[httpx2.Client]:
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        client.headers["accept"] = "text/html"
        yield client


def _register(service: Serving, name: str) -> None:
    with service.database.begin() as tx:
        made = adapters.put(tx, name=name)
        versions.put(tx, adapter=made, name="v1", model=f"{name}@v1")


def _freeze(first: Server, second: Server) -> None:
    """Let the standby catch up, and then stay as it is."""
    with (
        psycopg.connect(first.conninfo) as primary,
        psycopg.connect(second.conninfo, autocommit=True) as follower,
    ):
        written = primary.execute("SELECT pg_current_wal_lsn()").fetchone()
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s"
        until(lambda: follower.execute(replayed, written).fetchone() == (True,), "it follows")
        follower.execute("SELECT pg_wal_replay_pause()")
        paused = "SELECT pg_get_wal_replay_pause_state()"
        until(lambda: follower.execute(paused).fetchone() == ("paused",), "it stays as it is")


def test_pages_show_what_the_standby_has_and_without_it_what_the_primary_has(
    servers: tuple[Server, Server], service: Serving, person: httpx2.Client
) -> None:
    _register(service, "refunds")
    service.database.run(clock.Watcher().look)
    service.database.run(epochs.in_force)
    _freeze(*servers)
    _register(service, "billing")

    fleet = person.get("/")
    assert fleet.status_code == 200
    assert "refunds" in fleet.text
    assert "billing" not in fleet.text, "only the primary knows it"
    assert person.get("/adapters/refunds").status_code == 200
    assert person.get("/adapters/billing").status_code == 404
    with service.client(Scope.READ) as script:
        assert script.get("/v1/adapters/billing").status_code == 200, "the API reads the primary"

    servers[1].kill()
    fleet = person.get("/")
    assert fleet.status_code == 200
    assert "billing" in fleet.text
    assert person.get("/adapters/billing").status_code == 200
