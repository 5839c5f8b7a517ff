"""Messages are claimed ahead while they go through, and commits are shared."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from sqlalchemy import Connection

from alerts.delivery import Delivered
from alerts.message import Alert
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.claiming import MOST_AHEAD, Claims
from monitor.outbox.taken import Taken
from monitor.store.database import Database
from monitor.store.incidents import deliveries, outbox
from monitor.store.incidents.outbox import DeliveryState
from tests.fleet import message

T = TypeVar("T")

LEASE = timedelta(seconds=60)


class Clock:
    at = 100.0

    def __call__(self) -> float:
        return self.at


class Deaf:
    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        raise NotImplementedError


@pytest.fixture
def queued(database: Database) -> list[UUID]:
    with database.begin() as tx:
        return [outbox.enqueue(tx, channel="oncall", alert=message(i)) for i in range(200)]


def claims_of(database: Database, clock: Clock) -> Claims:
    return Claims(
        database, [ConfiguredChannel(name="oncall", channel=Deaf())], lease=LEASE, clock=clock
    )


def claimed(database: Database) -> list[int]:
    """Attempts of the messages that somebody has, or had."""
    with database.begin() as tx:
        return [row.attempts for row in deliveries.newest(tx, limit=500) if row.attempts]


@pytest.mark.usefixtures("queued")
def test_as_many_are_claimed_ahead_as_went_through_in_half_a_second(database: Database) -> None:
    clock = Clock()
    claims = claims_of(database, clock)
    assert len(claims.take(4)) == 4
    assert len(claimed(database)) == 4  # nothing went through yet: none ahead
    for _ in range(10):
        claims.finished()
    clock.at += 0.4
    assert len(claims.take(2)) == 2
    assert len(claimed(database)) == 4 + 2 + 10
    assert len(claims.take(8)) == 8
    assert len(claimed(database)) == 16  # from those at hand
    clock.at += 0.2
    assert len(claims.take(4)) == 4
    assert len(claimed(database)) == 18  # what went through is too long ago
    for _ in range(1_000):
        claims.finished()
    claims.take(1)
    assert len(claimed(database)) == 18 + 1 + MOST_AHEAD


@pytest.mark.usefixtures("queued")
def test_what_waited_too_long_or_is_not_wanted_is_given_back_as_if_never_claimed(
    database: Database,
) -> None:
    clock = Clock()
    claims = claims_of(database, clock)
    for _ in range(5):
        claims.finished()
    assert len(claims.take(1)) == 1
    clock.at += LEASE.total_seconds() / 2
    assert claims.take(3) == []
    assert claimed(database) == [1]  # the one that was given out to be sent
    claims.finished()
    assert len(claims.take(1)) == 1
    assert claimed(database) == [1, 1, 1]
    claims.clear()
    assert claimed(database) == [1, 1]
    assert len(claims.take(200)) == 198
    assert claimed(database) == [1] * 200


def test_threads_share_commits_and_each_waits_for_its_own(
    database: Database, queued: list[UUID]
) -> None:
    runs = 0

    class Counting(Database):
        def run(self, work: Callable[[Connection], T], *, attempts: int = 5) -> T:
            nonlocal runs
            runs += 1
            first.wait(5)  # the others gather behind the first
            return super().run(work, attempts=attempts)

    first = threading.Event()
    taken = Taken(Counting(database.engine.url.render_as_string(hide_password=False)))
    threads = [threading.Thread(target=taken.note, args=(one,)) for one in queued[:40]]
    for thread in threads:
        thread.start()
    first.set()
    for thread in threads:
        thread.join(20)
    with database.begin() as tx:
        found = {row.id for row in deliveries.newest(tx, state=DeliveryState.DELIVERED, limit=500)}
    assert found == set(queued[:40])
    assert runs < 20
    taken.database.close()


def test_a_commit_that_fails_is_everybodys_own_again(
    database: Database, queued: list[UUID]
) -> None:
    class Failing(Database):
        broken = True

        def run(self, work: Callable[[Connection], T], *, attempts: int = 5) -> T:
            if self.broken:
                raise ConnectionError
            return super().run(work, attempts=attempts)

    store = Failing(database.engine.url.render_as_string(hide_password=False))
    taken = Taken(store)
    with pytest.raises(ConnectionError):
        taken.note(queued[0])
    store.broken = False
    taken.note(queued[1])
    with database.begin() as tx:
        found = {row.id for row in deliveries.newest(tx, state=DeliveryState.DELIVERED, limit=500)}
    assert found == set(queued[:2])
    store.close()
