import queue
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from monitor.store.database import Database
from monitor.store.wakeups import OUTBOX, ROUTES, WakeUps, notify

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
