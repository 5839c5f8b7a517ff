"""Two daemons on one database: work is shared, done once, and taken over."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.service import NDJSON, PATIENCE, Service, Talk, ndjson, until

LEASE = 2.0
ADAPTERS = 6
WORKERS = 4
"""Evaluating threads of both daemons together."""

# which daemon took which task, when; the service itself keeps only the present holder
_CLAIMS = """
CREATE TABLE claims (
    seq bigint GENERATED ALWAYS AS IDENTITY, task_id bigint, owner text, epoch bigint,
    at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO claims (task_id, owner, epoch) VALUES (NEW.id, NEW.lease_owner, NEW.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER note_claim AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.lease_owner IS NOT NULL AND NEW.epoch <> OLD.epoch) EXECUTE FUNCTION note_claim();
"""


@dataclass
class Pair:
    """The daemons and a look into their database."""

    first: Service
    second: Service
    url: str

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        plain = make_url(self.url).set(drivername="postgresql")
        with psycopg.connect(
            plain.render_as_string(hide_password=False), autocommit=True
        ) as connection:
            yield connection

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self.connected() as connection:
            return connection.execute(query, values or None).fetchall()

    @contextmanager
    def frozen(self, table: str) -> Iterator[None]:
        """Let every statement on a table wait until the body ends."""
        with self.connected() as connection, connection.transaction():
            _lock(connection, table)
            yield

    @contextmanager
    def busy(
        self, service: Service, table: str = "records", statement: str = "FROM r.at"
    ) -> Iterator[list[tuple[int, int, int, str]]]:
        """Freeze a table while every worker of both is in a statement; give what one has in hand.

        A worker that meets the lock in another statement is let go, and the table frozen anew.
        """
        deadline = time.monotonic() + PATIENCE
        with self.connected() as connection:
            while True:
                connection.execute("BEGIN")
                _lock(connection, table)
                if self._all_wait(statement, patience=10.0):
                    break
                connection.execute("ROLLBACK")
                assert time.monotonic() < deadline, "not all workers wait at once"
            held = self.held_by(service)
            assert held != []
            yield held
            connection.execute("ROLLBACK")

    def _all_wait(self, statement: str, *, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while self.waiting(statement) < WORKERS:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def held_by(self, service: Service) -> list[tuple[int, int, int, str]]:
        """Give (task, version, epoch, kind) of what a daemon is working on."""
        return self.rows(
            "SELECT id, version_id, epoch, kind FROM tasks WHERE lease_owner LIKE %s",
            f"%:{pid_of(service)}:%",
        )

    def waiting(self, statement: str) -> int:
        """Count the statements of this kind that wait for a lock."""
        ((count,),) = self.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND query ~ %s AND datname = current_database()",
            statement,
        )
        return int(count)

    def next_claim(self, task: int, epoch: int) -> tuple[str, float] | None:
        """Give who took a task after that epoch, and how old its holder's last claim was."""
        found = self.rows(
            "SELECT owner, extract(epoch FROM at - (SELECT at FROM claims"
            " WHERE task_id = %s AND epoch = %s))"
            " FROM claims WHERE task_id = %s AND epoch > %s ORDER BY seq LIMIT 1",
            task, epoch, task, epoch,
        )  # fmt: skip
        return (found[0][0], float(found[0][1])) if found else None


def _lock(connection: psycopg.Connection, table: str) -> None:
    connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


def pid_of(service: Service) -> int:
    assert service.process is not None
    return service.process.pid


@pytest.fixture(scope="module")
def empty_database(postgres: str) -> Iterator[str]:
    """URL of a database without a table, for the tests of this file."""
    name = f"pair_{secrets.token_hex(6)}"
    server = make_url(postgres).set(drivername="postgresql")
    with psycopg.connect(
        server.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield make_url(postgres).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory, empty_database: str) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    changes = {"database.url": empty_database, "schedule.lease": f"{LEASE:.0f}s"}
    first, second = (Service(folder=folder / name, changes=changes) for name in ("a", "b"))
    try:
        first.launch()
        second.launch()  # at once: both migrate an empty database
        for service in (first, second):
            service.wait_ready()
        first.key = second.key = first.key or second.key
        made = Pair(first=first, second=second, url=empty_database)
        with made.connected() as connection:
            connection.execute(_CLAIMS)
        for number in range(ADAPTERS):
            first.register(f"adapter-{number}", "v1")
        yield made
    finally:
        first.clear_away()
        second.clear_away()


@pytest.fixture
def pair(daemons: Pair) -> Iterator[Pair]:
    """Both daemons up and at work."""
    if not daemons.first.alive:
        daemons.first.start()
    try:
        wait_for_both_at_work(daemons)
        yield daemons
    except BaseException:
        print(daemons.first.tail(), daemons.second.tail(), sep="\n---\n")
        raise


def wait_for_both_at_work(pair: Pair) -> None:
    ((begun,),) = pair.rows("SELECT coalesce(max(seq), 0) FROM claims")

    def both() -> bool:
        claims = pair.rows("SELECT owner FROM claims WHERE seq > %s", begun)
        owners = {owner.split(":")[-2] for (owner,) in claims}
        return owners == {str(pid_of(pair.first)), str(pid_of(pair.second))}

    until(both, "both daemons at work")


def check_every_window_once(pair: Pair) -> int:
    """Windows of one version and kind follow each other without gap or overlap."""
    gaps = pair.rows(
        "SELECT * FROM (SELECT version_id, kind, window_start, lag(window_end) OVER"
        " (PARTITION BY version_id, kind ORDER BY window_end) AS before FROM evaluations) AS w"
        " WHERE before <> window_start"
    )
    assert gaps == []
    ((done, distinct),) = pair.rows(
        "SELECT count(*), count(DISTINCT (version_id, kind, window_start)) FROM evaluations"
    )
    assert done == distinct
    return int(done)


def test_two_daemons_share_the_windows_and_one_killed_is_followed_within_a_lease(
    pair: Pair,
) -> None:
    with pair.busy(pair.first) as held:
        pair.first.kill()
    for task, _, epoch, _ in held:
        follower, waited = until(partial(pair.next_claim, task, epoch), "a follower")
        assert f":{pid_of(pair.second)}:" in follower
        assert waited >= LEASE - 0.1  # no earlier than the lease allows
        print(f"task {task} taken over {waited:.2f} s after its last claim")
    before = check_every_window_once(pair)
    until(lambda: check_every_window_once(pair) > before + 4, "the work going on")


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        pytest.param("records", "FROM r.at", id="while it computes"),
        pytest.param(
            "evaluations",
            "evaluations|verdicts",
            id="inside its transaction",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_daemon_that_was_stopped_for_three_leases_writes_nothing_stale(
    pair: Pair, table: str, statement: str
) -> None:
    with pair.busy(pair.first, table, statement) as held:
        os.kill(pid_of(pair.first), signal.SIGSTOP)
    stopped_at = time.monotonic()
    for task, _, epoch, _ in held:
        until(partial(pair.next_claim, task, epoch), "a follower")
    time.sleep(max(0.0, 3 * LEASE - (time.monotonic() - stopped_at)))
    os.kill(pid_of(pair.first), signal.SIGCONT)
    until(
        lambda: pair.first.events("lease_lost") + pair.first.events("evaluation_failed"),
        "the old holder noticing",
    )
    stale = [
        row
        for _, version, epoch, kind in held
        for row in pair.rows(
            "SELECT id FROM evaluations WHERE version_id = %s AND kind = %s AND epoch = %s",
            version, kind, epoch,
        )
    ]  # fmt: skip
    assert stale == []
    check_every_window_once(pair)


def test_a_daemon_told_to_stop_answers_what_is_in_flight_and_frees_its_leases_at_once(
    pair: Pair,
) -> None:
    answers: list[Any] = []

    def send() -> None:
        body = ndjson(Talk("adapter-0").records(20))
        answers.append(pair.first.call("POST", "/v1/records", content=body, headers=NDJSON))

    in_flight = threading.Thread(target=send)
    with pair.busy(pair.first) as held:
        in_flight.start()
        until(lambda: pair.waiting("INTO records") > 0, "the request being stored")
        pair.first.begin_stop()
        time.sleep(0.5)
        assert pair.held_by(pair.first) != []
    took = pair.first.wait_for_end()
    in_flight.join()
    assert [(a.status_code, a.json()["accepted"]) for a in answers] == [(202, 20)]
    assert pair.held_by(pair.first) == []
    for task, _, epoch, _ in held:
        until(partial(pair.next_claim, task, epoch), "a follower")
    before = check_every_window_once(pair)
    until(lambda: check_every_window_once(pair) > before + 4, "the work going on")
    print(f"ended {took:.1f} s after SIGTERM with {len(held)} tasks in hand")


@pytest.mark.slow
def test_a_daemon_told_to_stop_ends_even_when_its_database_is_stuck(pair: Pair) -> None:
    with pair.frozen("verdicts"):
        until(lambda: pair.held_by(pair.first), "a task in hand")
        assert pair.first.terminate() <= 30
