"""The service under clocks that are wrong by months: its own, and its database's as well."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import psycopg
import pytest

from monitor.capture.subjects import load_key
from monitor.domain import Scope
from monitor.postgres import EmbeddedPostgres, ServerSettings, account
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.web.sessions import COOKIE, Sessions
from tests.clocks import WallClock, needs_faketime
from tests.service import NDJSON, Service, Talk, ndjson, running, until

pytestmark = needs_faketime

MONTHS = timedelta(days=120)
CALM = {
    "schedule.tick": "1s",
    "schedule.hard_interval": "3s",
    "schedule.live_interval": "3s",
    "alerting.delivery.poll": "2s",
    "routing.cycle": "10s",
    "schedule.lease": "30s",
    "schedule.renew": "5s",
}
"""Every look at a clock that libfaketime moves is dear, so the service looks seldom."""
TABLES = ("records", "evaluations")


def counts(connection: psycopg.Connection) -> dict[str, int]:
    found = {}
    for table in TABLES:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        found[table] = row[0]
    return found


def resident_mib(service: Service) -> float:
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def aged(talk: Talk, count: int, *, days: int) -> list[dict[str, object]]:
    """Records of each of the last days."""
    now = datetime.now(UTC)
    made = talk.records(count)
    for number, record in enumerate(made):
        record["at"] = (now - timedelta(days=number % days)).isoformat()
    return made


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    """A clock; :func:`wear` gives it to what is started from then on."""
    return WallClock(tmp_path / "clock")


def wear(clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let services go by it; embedded servers that they start keep the true one."""
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)


def test_a_daemon_that_starts_months_ahead_of_its_database_loses_nothing(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before: 132 records became 0 and 186 evaluations 2, at the first minute."""
    with running(tmp_path / "service") as service:
        service.register("support", "v1")
        service.send(aged(Talk("support"), 120, days=60))
        until(lambda: service.get("/v1/adapters/support/evaluations")["items"], "an evaluation")
        service.terminate()
        with service.stored() as connection:
            before = counts(connection)
        clock.move(MONTHS)
        wear(clock, monkeypatch)
        service.launch()
        until(lambda: service.events("nothing_is_deleted")[1:], "word of the clock")
        with service.stored() as connection:
            after = counts(connection)
            [held] = connection.execute(
                "SELECT count(*) FROM tasks WHERE next_due_at > now() + interval '1 day'"
            ).fetchall()
        told = service.events("nothing_is_deleted")[-1]
        print(f"before {before}, after {after}; {told['reason']}; {told['would_drop']}")
        assert "ahead of the database's" in told["reason"]
        assert after["records"] == before["records"] == 120
        assert after["evaluations"] >= before["evaluations"]
        assert held == (0,)


@pytest.mark.parametrize("shift", [MONTHS, pytest.param(-MONTHS, marks=pytest.mark.slow)])
def test_records_are_taken_by_the_databases_clock_and_not_by_the_services(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch, shift: timedelta
) -> None:
    """Before, 120 days ahead all were too old, and 120 days behind all came from the future."""
    with running(tmp_path / "service", changes=CALM) as service:
        service.register("support", "v1")
        service.terminate()
        clock.move(shift)
        wear(clock, monkeypatch)
        service.launch()
        until(service.ready, "ready on a clock that is dear", patience=300)
        body = ndjson(Talk("support").records(50))
        answer = service.call("POST", "/v1/records", content=body, headers=NDJSON)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 50)


@pytest.mark.parametrize("shift", [-MONTHS, pytest.param(MONTHS, marks=pytest.mark.slow)])
def test_keys_and_sessions_end_by_the_databases_clock_and_not_by_the_services(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch, shift: timedelta
) -> None:
    """Before, 120 days behind, what had ended let in; 120 days ahead, nothing that ends did."""
    day, now = timedelta(days=1), datetime.now(UTC)
    with running(tmp_path / "service", changes=CALM) as service:
        service.terminate()
        with EmbeddedPostgres(service.data_dir) as server:
            database = Database(server.url)
            with database.begin() as tx:
                good, text = keys.create(tx, name="good", scopes=[Scope.READ], expires_at=now + day)
                _, ended = keys.create(tx, name="ended", scopes=[Scope.READ], expires_at=now - day)
            database.close()
        sessions = Sessions(load_key(service.data_dir / "session.key"), lasts=day)
        clock.move(shift)
        wear(clock, monkeypatch)
        service.launch()
        until(service.ready, "ready on a clock that is dear", patience=300)
        assert asked(service, f"Bearer {text}") == 200
        assert asked(service, f"Bearer {ended}") == 401
        assert shown(service, sessions.begin(good.id, now=now)) == 200
        assert shown(service, sessions.begin(good.id, now=now - 2 * day)) == 303
        assert shown(service, logged_in(service, text)) == 200


def asked(service: Service, authorization: str) -> int:
    headers = {"authorization": authorization}
    return service.call("GET", "/v1/adapters", headers=headers).status_code


def shown(service: Service, cookie: str) -> int:
    return service.call("GET", "/", headers={"cookie": f"{COOKIE}={cookie}"}).status_code


def logged_in(service: Service, text: str) -> str:
    """Give the cookie of a session that begins now."""
    answer = service.call(
        "POST", "/login", data={"key": text}, headers={"sec-fetch-site": "same-origin"}
    )
    assert answer.status_code == 303, answer.text
    return answer.cookies[COOKIE]


@dataclass
class Load:
    """Sends records stamped by the machine's clock, wherever that stands."""

    service: Service
    clock_off: timedelta = timedelta()
    talk: Talk = field(default_factory=lambda: Talk("support"))
    acknowledged: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.is_set():
            made = self.talk.records(20)
            at = (datetime.now(UTC) + self.clock_off).isoformat()
            body = ndjson([record | {"at": at} for record in made])
            answer = self.service.call("POST", "/v1/records", content=body, headers=NDJSON)
            if answer.status_code == 202:
                self.acknowledged += answer.json()["accepted"]
            time.sleep(0.5)


@dataclass
class Machine:
    """A service, its database's server and whoever sends to it, all on one clock."""

    clock: WallClock
    service: Service
    url: str
    load: Load

    def move(self, shift: timedelta) -> None:
        self.clock.move(shift)
        self.load.clock_off = shift

    def evaluations(self, since: int) -> int:
        """Evaluations finished after the one with this id."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM evaluations WHERE id > %s AND state = 'done'", [since]
            ).fetchone()
        return row[0] if row else 0

    def begin_canary(self) -> int:
        """Put v2 on trial, and wait until it has its share."""
        self.service.register("support", "v2")
        wish = {
            "adapter": "support",
            "version": "v2",
            "steps": [{"weight": 0.2, "hours": 24}],
            "unchecked": ["weights", "served", "applied", "perplexity"],
        }
        answer = self.service.call("POST", "/v1/canaries", json=wish)
        assert answer.status_code == 201, answer.text
        canary = int(answer.json()["canary"])
        until(lambda: self.share() == 0.2, "the share of the canary")
        return canary

    def look_at(self, canary: int) -> None:
        """Wait for a look by the present clock: it has lost nothing, and its route stands."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE canaries SET next_look_at = clock_timestamp()")
        seen = len(self.service.get(f"/v1/canaries/{canary}")["looks"])
        until(
            lambda: len(self.service.get(f"/v1/canaries/{canary}")["looks"]) > seen,
            "a look",
            patience=120,
        )
        stands = self.service.get(f"/v1/canaries/{canary}")
        print(f"      canary {stands['phase']}: {stands['reason']}")
        assert stands["phase"] in {"running", "paused"}, stands["reason"]
        assert self.share() == 0.2

    def share(self) -> float:
        route = self.service.get("/v1/routes/support")
        return sum(arm["weight"] for arm in route["arms"] if arm["version"] == "v2")

    def newest(self) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT coalesce(max(id), 0) FROM evaluations").fetchone()
        return row[0] if row else 0


@pytest.fixture
def machine(tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    # the server's own environment is closed to ours on purpose: this opens it for the clock
    monkeypatch.setattr(
        account, "ENVIRONMENT", MappingProxyType(account.ENVIRONMENT | clock.environment)
    )
    small = ServerSettings(shared_buffers="32MB")
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedPostgres(tmp_path / "server", settings=small))
        changes = CALM | {"database.url": server.url}
        with running(tmp_path / "service", changes=changes) as service:
            service.register("support", "v1")
            service.terminate()
            wear(clock, monkeypatch)
            service.launch()
            until(service.ready, "ready on a clock that is dear", patience=300)
            load = Load(service)
            sender = threading.Thread(target=load.run)
            sender.start()
            try:
                yield Machine(clock, service, server.conninfo, load)
            finally:
                clock.move(timedelta())
                load.over.set()
                sender.join()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_machine_that_goes_months_off_and_back_under_load_loses_nothing(
    machine: Machine,
) -> None:
    until(lambda: machine.evaluations(0) > 3, "evaluations")
    canary = machine.begin_canary()
    usual = resident_mib(machine.service)
    for shift in (MONTHS, timedelta(), -MONTHS, timedelta(), 3 * MONTHS, timedelta()):
        machine.move(shift)
        time.sleep(12)
        last = machine.newest()
        took = time.monotonic()
        until(lambda last=last: machine.evaluations(last) > 1, f"at {shift}", patience=300)  # type: ignore[misc]  # a default argument
        print(
            f"{shift.days:+5d} days: evaluations after {time.monotonic() - took:4.1f} s,"
            f" {resident_mib(machine.service):.0f} MiB (usual {usual:.0f})"
        )
        assert resident_mib(machine.service) < usual + 100
        machine.look_at(canary)
    machine.load.over.set()
    time.sleep(2)
    with psycopg.connect(machine.url) as connection:
        stored = counts(connection)
        falsely = connection.execute(
            "SELECT count(*) FROM incidents WHERE kind = 'no_data' AND closed_at IS NULL"
        ).fetchone()
        later = connection.execute(
            "SELECT count(*) FROM tasks WHERE next_due_at > now() + interval '1 day'"
        ).fetchone()
    print(f"acknowledged {machine.load.acknowledged}, stored {stored}")
    # one whose answer came too late is stored all the same
    assert stored["records"] >= machine.load.acknowledged
    assert falsely == (0,)
    assert later == (0,)
