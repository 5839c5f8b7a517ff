"""A delivering process that kills itself, again and again, at one chosen point.

Run as a program: it forks a deliverer, which may end by SIGKILL, and forks another, until
nothing is queued any more. Forking keeps a restart cheap, so that a hundred fit in a test.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.channels import open_channel
from alerts.delivery import Channel, Delivered, GroupedChannel
from alerts.message import Alert
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.retry import RetrySchedule
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.store.database import Database
from tests.loopback import LOOPBACK

T = TypeVar("T")

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
LONGEST_LIFE = 16
"""Messages at most between two kills, so that forty messages always see one."""
LONGEST_LIFE_IN_CLAIMS = 4
"""A claim is for many messages, so there are few."""
SETTINGS = DelivererSettings(
    workers=1,  # with others in flight a kill could catch one of them after its POST
    lease=timedelta(milliseconds=500),
    poll=timedelta(milliseconds=20),
    retries=RetrySchedule(delays=(0.05,) * 50),
)


class Point(StrEnum):
    IN_CLAIM = "in_claim"
    AFTER_CLAIM = "after_claim"
    AFTER_POST = "after_post"
    IN_ACK = "in_ack"
    AFTER_ACK = "after_ack"


class Life:
    """Ends by SIGKILL at an occasion drawn when it began."""

    def __init__(self, longest: int) -> None:
        self.occasions = random.randint(1, longest)  # noqa: S311

    def spend(self) -> None:
        self.occasions -= 1
        if self.occasions == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalDatabase(Database):
    """Dies before or after the commit of the transaction that claims or acknowledges.

    A claim returns a list with messages, an acknowledgement returns True.
    """

    point: Point
    life: Life

    def run(self, work: Callable[[Connection], T], *, attempts: int = 5) -> T:
        del attempts
        with self.engine.begin() as tx:
            result = work(tx)
            claimed, acknowledged = bool(result) and isinstance(result, list), result is True
            if claimed and self.point is Point.IN_CLAIM:
                self.life.spend()
            if acknowledged and self.point is Point.IN_ACK:
                self.life.spend()
        if acknowledged and self.point is Point.AFTER_ACK:
            self.life.spend()
        return result


class MortalChannel:
    """Dies before or after the request."""

    def __init__(self, channel: Channel, point: Point, life: Life) -> None:
        self.channel, self.point, self.life = channel, point, life

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return self.deliver_together([alert], message_id)

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        assert isinstance(self.channel, GroupedChannel)
        if self.point is Point.AFTER_CLAIM:
            self.life.spend()
        receipt = self.channel.deliver_together(alerts, message_id)
        if self.point is Point.AFTER_POST:
            self.life.spend()
        return receipt


def deliver_all(url: str, receiver: str, point: Point) -> None:
    database = MortalDatabase(url)
    database.point = point
    database.life = Life(LONGEST_LIFE_IN_CLAIMS if point is Point.IN_CLAIM else LONGEST_LIFE)
    webhook = open_channel(
        "webhook",
        {"url": receiver, "secret": SECRET},
        client=OutgoingClient(OutgoingPolicy(allow=LOOPBACK)),
    )
    channel = ConfiguredChannel(name="oncall", channel=MortalChannel(webhook, point, database.life))
    deliverer = Deliverer(database, [channel], settings=SETTINGS)
    deliverer.start()
    left = sa.text("SELECT count(*) FROM outbox WHERE state = 'queued'")
    while True:
        with database.begin() as tx:
            if tx.execute(left).scalar_one() == 0:
                break
        time.sleep(0.05)
    deliverer.stop()


def main(url: str, receiver: str, point: Point) -> int:
    """Return how many deliverers were killed."""
    killed = 0
    while True:
        child = os.fork()
        if child == 0:
            deliver_all(url, receiver, point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return killed if os.waitstatus_to_exitcode(status) == 0 else -1
        killed += 1


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], Point(sys.argv[3])))
