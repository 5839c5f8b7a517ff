"""Receivers that fail in every known way: nothing lost, nothing out of order, nobody waits long."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Self

import msgspec
import pytest

from alerts.channels import open_channel
from alerts.delivery import Channel, Delivered
from alerts.message import Alert
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.retry import RetrySchedule
from alerts.types import Status
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.store.database import Database
from monitor.store.incidents import deliveries, outbox, receivers
from monitor.store.incidents.outbox import DeliveryState
from tests.fleet import incident, message, register
from tests.loopback import (
    LOOPBACK,
    Behaviour,
    Receiver,
    answer,
    drip_body,
    drip_head,
    for_ever,
    raw,
    reset,
)

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
LIMIT = 0.5
"""Seconds for one attempt."""
STORY = (Status.STARTED, Status.RECOVERED)
SETTINGS = DelivererSettings(
    workers=16,
    poll=timedelta(milliseconds=20),
    lease=timedelta(seconds=30),
    retries=RetrySchedule(delays=(0.05,) * 60, jitter=0.5),
)


def answer_lost(connection: socket.socket) -> None:
    """Take the message and say nothing: the sender cannot know that it arrived."""
    del connection


FAULTS: tuple[Behaviour, ...] = (
    for_ever(b"", b"", pause=0.02),  # hangs
    drip_head(),
    drip_body(),
    reset,
    raw(b"\x16\x03\x01\x02\x00\x01\x00"),  # a piece of TLS where HTTP should be
    answer(429, headers={"retry-after": "0"}),
    answer(500),
)


@dataclass
class Timed:
    """A channel that notes how long each attempt took."""

    channel: Channel
    took: list[float] = field(default_factory=list)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        begin = time.monotonic()
        try:
            return self.channel.deliver(alert, message_id)
        finally:
            self.took.append(time.monotonic() - begin)


def script(rng: random.Random, elsewhere: str) -> Iterator[Behaviour]:
    """One time in ten 503, one in ten the answer is lost, one in ten another fault."""
    redirect = answer(301, headers={"location": elsewhere})
    while True:
        drawn = rng.random()
        if drawn < 0.1:
            yield answer(503)
        elif drawn < 0.2:
            yield answer_lost
        elif drawn < 0.3:
            yield rng.choice((*FAULTS, redirect))
        else:
            yield answer(204)


@dataclass
class Scripted(Receiver):
    """Draws its behaviours as requests come, for ever."""

    draws: Callable[[], Behaviour] = lambda: answer(204)

    def __enter__(self) -> Self:
        super().__enter__()
        self._script = iter(self.draws, None)
        return self


def check(database: Database, incidents: int) -> None:
    with database.begin() as tx:
        version = register(tx)
        sent = {
            str(outbox.enqueue(tx, channel="oncall", alert=message(one, status), incident_id=about))
            for one in range(1, incidents + 1)
            for about in [incident(tx, version, one)]
            for status in STORY
        }
    rng = random.Random(4711)  # noqa: S311 (faults, not secrets)
    with Receiver() as elsewhere:
        faults = script(rng, elsewhere.url)
        with Scripted(draws=lambda: next(faults)) as receiver:
            took = deliver_all(database, receiver.url)
            seen = list(receiver.seen)
        assert elsewhere.connections == 0  # no redirect was followed
    arrived = [request.headers["webhook-id"] for request in seen]
    attempts = len(took)
    print(f"{len(sent)} messages, {attempts} attempts, the longest {max(took):.2f} s")
    assert set(arrived) == sent  # none lost, none invented
    assert attempts > 1.15 * len(sent)  # it was as bad as it was meant to be
    told: dict[str, list[str]] = {}
    for request in seen:
        alert = msgspec.json.decode(request.body)
        told.setdefault(alert["id"], []).append(alert["status"])
    for statuses in told.values():  # repeats, but never a start after an end
        assert sorted(statuses, key=list(map(str, STORY)).index) == statuses
    with database.begin() as tx:
        rows = deliveries.newest(tx, limit=10_000)
    assert {row.state for row in rows} == {DeliveryState.DELIVERED}


def deliver_all(
    database: Database, url: str, *, settings: DelivererSettings = SETTINGS
) -> list[float]:
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, timeout=LIMIT))
    channel = Timed(
        open_channel("webhook", {"url": url, "secret": SECRET, "timeout": LIMIT}, client=client)
    )
    deliverer = Deliverer(
        database, [ConfiguredChannel(name="oncall", channel=channel)], settings=settings
    )
    deliverer.start()
    end = time.monotonic() + 240
    while database.run(receivers.oldest_seconds):
        assert time.monotonic() < end, "it was not delivered in time"
        time.sleep(0.05)
    deliverer.stop()
    return channel.took


def test_faults_of_receivers_lose_nothing_and_keep_the_order(database: Database) -> None:
    check(database, incidents=60)


@pytest.mark.slow
def test_the_same_with_a_thousand_incidents(database: Database) -> None:
    check(database, incidents=1_000)


def test_gone_is_the_end_of_a_message_and_not_of_its_channel(database: Database) -> None:
    with database.begin() as tx:
        first, second = (outbox.enqueue(tx, channel="oncall", alert=message(i)) for i in (1, 2))
    with Receiver([answer(410), answer(204)]) as receiver:
        deliver_all(database, receiver.url, settings=replace(SETTINGS, workers=1))
    with database.begin() as tx:
        states = {row.id: row.state for row in deliveries.newest(tx)}
    assert sorted(states.values()) == [DeliveryState.DEAD, DeliveryState.DELIVERED]
    assert set(states) == {first, second}
