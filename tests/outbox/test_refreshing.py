from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.delivery import DeliveryFailed
from alerts.message import Alert
from alerts.types import Status
from monitor.domain import IncidentId
from monitor.outbox.refreshing import RESOLVED_FOR, Refresher
from monitor.store.database import Database
from monitor.store.incidents import outbox
from monitor.store.tables.incidents import incidents
from monitor.store.tables.incidents import outbox as messages
from tests.fleet import incident, message, register


class Forgetful:
    """A receiver that wants to hear of everything again."""

    refresh_every = 20.0

    def __init__(self, *failures: DeliveryFailed) -> None:
        self.failures = list(failures)
        self.told: list[list[tuple[str, Status]]] = []

    def refresh(self, messages: Sequence[tuple[Alert, str]]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.told.append([(message_id, alert.status) for alert, message_id in messages])


def case(
    tx: Connection,
    number: int,
    *told: Status,
    closed_ago: timedelta | None = None,
    channel: str = "sink",
    queued: int = 0,
) -> str:
    """An incident with messages, of which the last ``queued`` wait; the id of the newest."""
    version = register(tx, f"adapter-{number}")
    incident_id: IncidentId = incident(tx, version)
    closed_at = None if closed_ago is None else sa.func.now() - closed_ago
    tx.execute(
        sa.update(incidents).where(incidents.c.id == incident_id).values(closed_at=closed_at)
    )
    ids = [
        outbox.enqueue(tx, channel=channel, alert=message(number, status), incident_id=incident_id)
        for status in told
    ]
    for one in ids[: len(ids) - queued]:
        outbox.mark_delivered(tx, one)
    return str(ids[-1 - queued])


def test_what_stands_is_told_again_and_nothing_else(database: Database) -> None:
    recently, long_ago = RESOLVED_FOR / 2, 2 * RESOLVED_FOR
    with database.begin() as tx:
        worse = case(tx, 1, Status.STARTED, Status.WORSENED)
        over = case(tx, 2, Status.STARTED, Status.RECOVERED, closed_ago=recently)
        case(tx, 3, Status.STARTED, Status.RECOVERED, closed_ago=long_ago)
        case(tx, 4, Status.STARTED, Status.RECOVERED, closed_ago=recently, queued=1)
        case(tx, 5, Status.STARTED, queued=0, channel="another")
        # reopened, and the message that says so is on its way
        case(tx, 6, Status.STARTED, Status.RECOVERED, Status.REOPENED, queued=1)
    channel = Forgetful(DeliveryFailed("503"))
    refresher = Refresher(database, "sink", channel)
    assert refresher.every == timedelta(seconds=20)
    for _ in range(3):  # the first fails, and nothing is lost by it
        refresher.turn()
    expected = [(worse, Status.WORSENED), (over, Status.RECOVERED)]
    assert channel.told == [expected, expected]


def test_one_unreadable_message_costs_the_others_nothing(database: Database) -> None:
    with database.begin() as tx:
        broken = case(tx, 1, Status.STARTED)
        sound = case(tx, 2, Status.STARTED)
        tx.execute(sa.update(messages).where(messages.c.id == broken).values(alert={"no": "alert"}))
    channel = Forgetful()
    Refresher(database, "sink", channel).turn()
    assert channel.told == [[(sound, Status.STARTED)]]
