import queue
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.schedule import Loop, Pulse
from monitor.store.database import Database
from monitor.store.wakeups import NET, OUTBOX, ROUTES, WakeUps, never, notify
from tests.service import until

PATIENCE = 60.0


@pytest.fixture
def heard(database: Database) -> Iterator[queue.Queue[str]]:
    words: queue.Queue[str] = queue.Queue()
    wake_ups = WakeUps(database)
    wake_ups.on(ROUTES, words.put)
    wake_ups.on(OUTBOX, lambda _: None)
    wake_ups.start()
    assert words.get(timeout=PATIENCE) == ""  # connected
    yield words
    wake_ups.stop()


def test_a_committed_notification_is_heard(database: Database, heard: queue.Queue[str]) -> None:
    with database.begin() as tx:
        notify(tx, ROUTES, payload="support")
    assert heard.get(timeout=PATIENCE) == "support"


def test_a_transaction_that_is_rolled_back_wakes_nobody(
    database: Database, heard: queue.Queue[str]
) -> None:
    with database.engine.connect() as tx:
        notify(tx, ROUTES, payload="never")
        tx.rollback()
    with database.begin() as tx:
        notify(tx, ROUTES, payload="second")
    assert heard.get(timeout=PATIENCE) == "second"


def test_a_lost_connection_is_made_anew_and_said(
    database: Database, heard: queue.Queue[str]
) -> None:
    with database.begin() as tx:
        killed = tx.execute(
            sa.text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
        ).scalar_one()
    assert killed == 1
    assert heard.get(timeout=PATIENCE) == ""  # lost
    assert heard.get(timeout=PATIENCE) == ""  # made anew
    with database.begin() as tx:
        notify(tx, ROUTES, payload="again")
    assert heard.get(timeout=PATIENCE) == "again"


def test_a_loop_sleeps_until_something_is_due_while_notifications_arrive(
    database: Database,
) -> None:
    wake_ups, tick, hour = WakeUps(database), timedelta(seconds=1), timedelta(hours=1)
    slept = {None: NET, hour: NET, NET / 2: NET / 2, tick / 9: tick, -hour: tick}
    wake_ups.heard = True
    assert {due: wake_ups.rest(lambda due=due: due, least=tick) for due in slept} == slept  # type: ignore[misc]  # a default argument
    wake_ups.heard = False
    assert {wake_ups.rest(lambda due=due: due, least=tick) for due in slept} == {tick}  # type: ignore[misc]  # a default argument


class Uncarried(Database):
    """A pooler that takes LISTEN, and never passes a notification on."""

    def run(self, work: Callable[[Connection], Any], *, attempts: int = 1) -> Any:
        del work, attempts


@pytest.mark.parametrize(("kind", "arrive"), [(Database, True), (Uncarried, False)])
def test_notifications_count_as_heard_only_once_one_has_arrived(
    database_url: str, kind: type[Database], *, arrive: bool
) -> None:
    database, words = kind(database_url), queue.Queue[str]()
    wake_ups = WakeUps(database)
    wake_ups.on(ROUTES, words.put)
    assert not wake_ups.heard
    wake_ups.start()
    assert words.get(timeout=PATIENCE) == ""
    if arrive:
        until(lambda: wake_ups.heard, "a notification of its own")
    else:
        assert wake_ups.rest(never, least=timedelta(seconds=1)) == timedelta(seconds=1)
    wake_ups.stop()
    assert not wake_ups.heard
    database.close()


def test_a_loop_that_no_notification_reaches_looks_again_by_itself(database: Database) -> None:
    pulse, turns = Pulse(), threading.Semaphore(0)
    wake_ups = WakeUps(database, net=timedelta(milliseconds=300))
    wake_ups.start()
    until(lambda: wake_ups.heard, "a notification of its own")

    def turn() -> bool:
        turns.release()
        return False

    loop = Loop(
        "sleeper",
        turn,
        pulse=pulse,
        every=timedelta(milliseconds=1),
        rest=lambda: wake_ups.rest(never, least=timedelta(milliseconds=1)),
    )
    loop.start()
    assert all(turns.acquire(timeout=PATIENCE) for _ in range(3))
    pulse.stop()
    wake_ups.stop()
    assert loop.join(timeout=PATIENCE)


def test_a_stop_closes_the_connection_and_logs_no_fault(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    listening = sa.text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")

    def listeners() -> int:
        return int(database.run(lambda tx: tx.execute(listening).scalar_one()))

    begun = listeners()
    words: queue.Queue[str] = queue.Queue()
    wake_ups = WakeUps(database)
    wake_ups.on(ROUTES, words.put)
    wake_ups.start()
    assert words.get(timeout=PATIENCE) == ""
    assert listeners() > begun
    wake_ups.stop()
    until(lambda: listeners() == begun, "the connection is closed")
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []
