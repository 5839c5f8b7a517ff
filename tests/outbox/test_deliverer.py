import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook

from alerts.channels import open_channel
from alerts.delivery import Channel, Delivered, DeliveryFailed
from alerts.mailing import MailSecurity
from alerts.message import Alert
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.pacing import MessageRate
from alerts.retry import RetrySchedule
from alerts.types import Status
from monitor.domain import IncidentId
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.outbox.stranded import MOST_AT_ONCE
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.incidents import deliveries, outbox
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.outbox import DeliveryState
from monitor.store.tables.incidents import outbox as outbox_table
from monitor.store.wakeups import OUTBOX, WakeUps
from tests.fleet import incident, message, register
from tests.loopback import LOOPBACK, Behaviour, Receiver, answer, for_ever, reset
from tests.mail_server import LOGIN, TAKEN, MailReceiver, mail_client, mail_of
from tests.tracing.collector import sent_to, traced

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
FAST = DelivererSettings(
    poll=timedelta(milliseconds=20),
    lease=timedelta(seconds=30),
    retries=RetrySchedule(delays=(0.02,) * 11, jitter=0.0),
)
PATIENCE = 20.0


class Scripted:
    """A channel that fails as told, then takes everything."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.taken: list[tuple[str, Alert]] = []
        self.tries: list[str] = []

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        self.tries.append(message_id)
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append((message_id, alert))
        return Delivered()


def configured(name: str, channel: Channel, fallback: str | None = None) -> ConfiguredChannel:
    return ConfiguredChannel(name=name, channel=channel, fallback=fallback)


@contextmanager
def delivering(
    database: Database,
    *channels: ConfiguredChannel,
    settings: DelivererSettings = FAST,
) -> Iterator[Deliverer]:
    deliverer = Deliverer(database, channels, settings=settings)
    deliverer.start()
    try:
        yield deliverer
    finally:
        deliverer.stop()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)


def rows(database: Database) -> list[DeliveryRow]:
    with database.begin() as tx:
        return deliveries.newest(tx)[::-1]


def settled(database: Database) -> bool:
    return all(row.state is not DeliveryState.QUEUED for row in rows(database))


@pytest.fixture
def incident_id(database: Database) -> IncidentId:
    with database.begin() as tx:
        return incident(tx, register(tx))


def queue(
    database: Database, incident_id: IncidentId, *, channel: str = "oncall", number: int = 1
) -> str:
    with database.begin() as tx:
        return str(
            outbox.enqueue(tx, channel=channel, alert=message(number), incident_id=incident_id)
        )


def webhook(receiver: Receiver, *, timeout: float = 5.0) -> Channel:
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, timeout=timeout))
    options = {"url": receiver.url, "secret": SECRET, "timeout": timeout}
    return open_channel("webhook", options, client=client)


def test_a_message_arrives_signed_under_its_own_id(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    with Receiver() as receiver, delivering(database, configured("oncall", webhook(receiver))):
        until(lambda: settled(database))
        (request,) = receiver.seen
    assert request.headers["webhook-id"] == sent
    Webhook(SECRET).verify(request.body, dict(request.headers))
    (row,) = rows(database)
    assert (row.channel, row.state, row.attempts) == ("oncall", DeliveryState.DELIVERED, 1)


@pytest.mark.parametrize(
    "refusals",
    [
        pytest.param([answer(503), answer(503)], id="503 twice"),
        pytest.param([answer(429, headers={"retry-after": "1"})], id="429 with Retry-After"),
        pytest.param([answer(301, headers={"location": "/elsewhere"})], id="redirect"),
        pytest.param([reset], id="connection reset"),
        pytest.param([for_ever(b"", b"", pause=0.05)], id="hangs past the timeout"),
    ],
)
def test_what_can_pass_is_tried_again_under_the_same_id(
    database: Database, incident_id: IncidentId, refusals: list[Behaviour]
) -> None:
    sent = queue(database, incident_id)
    with (
        Receiver([*refusals, answer(204)]) as receiver,
        delivering(database, configured("oncall", webhook(receiver, timeout=0.5))),
    ):
        until(lambda: settled(database))
        requests = list(receiver.seen)
    assert [request.headers["webhook-id"] for request in requests] == [sent] * len(requests)
    assert len(requests) == len(refusals) + 1
    assert {request.path for request in requests} == {"/hook"}


def mail(receiver: MailReceiver) -> Channel:
    options = {
        "host": "127.0.0.1",
        "port": receiver.port,
        "sender": "driftline@example.com",
        "to": ["ann@example.com"],
        "username": LOGIN[0],
        "password": LOGIN[1],
    }
    return open_channel("email", options, client=mail_client())


PATIENT = replace(FAST, retries=RetrySchedule(delays=(0.02,) * 10_000, jitter=0.0))


def test_a_mail_is_tried_again_until_tls_is_offered_and_the_server_takes_it(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    with (
        MailReceiver(answers=["451 4.3.0 busy", TAKEN], security=MailSecurity.NONE) as receiver,
        delivering(database, configured("oncall", mail(receiver)), settings=PATIENT),
    ):
        until(lambda: receiver.connections >= 2)
        assert receiver.seen == []
        receiver.security = MailSecurity.STARTTLS
        until(lambda: settled(database))
    assert [mail_of(seen)["message-id"] for seen in receiver.seen] == [f"<{sent}@example.com>"] * 2
    (row,) = rows(database)
    assert row.state is DeliveryState.DELIVERED


def test_a_mail_that_is_refused_for_good_is_a_dead_letter_at_once_and_the_fallback_is_told(
    database: Database, incident_id: IncidentId
) -> None:
    queue(database, incident_id)
    spare = Scripted()
    with MailReceiver(recipients={"ann@example.com": "550 5.1.1 no such user"}) as receiver:
        channels = [
            configured("oncall", mail(receiver), fallback="spare"),
            configured("spare", spare),
        ]
        with delivering(database, *channels):
            until(lambda: bool(spare.taken) and settled(database))
    dead = next(row for row in rows(database) if row.channel == "oncall")
    assert (dead.state, dead.attempts) == (DeliveryState.DEAD, 1)
    assert dead.last_error == f"127.0.0.1:{receiver.port} refused recipient 1 of 1: 550 5.1.1"


def test_gone_is_a_dead_letter_at_once_with_audit_and_fallback(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    spare = Scripted()
    with Receiver([answer(410)]) as receiver:
        channels = [
            configured("oncall", webhook(receiver), fallback="spare"),
            configured("spare", spare),
        ]
        with delivering(database, *channels):
            until(lambda: bool(spare.taken) and settled(database))
    states = [(row.channel, row.state) for row in rows(database)]
    assert states == [("oncall", DeliveryState.DEAD), ("spare", DeliveryState.DELIVERED)]
    assert len(spare.taken) == 1
    with database.begin() as tx:
        (entry,) = audit.newest(tx)
    assert (entry.act, entry.subject) == ("delivery.dead", sent)


def test_a_used_up_schedule_is_a_dead_letter(database: Database, incident_id: IncidentId) -> None:
    queue(database, incident_id)
    never = Scripted(*[DeliveryFailed("503")] * 100)
    with delivering(database, configured("oncall", never)):
        until(lambda: settled(database))
    (row,) = rows(database)
    assert row.state is DeliveryState.DEAD
    # 11 delays: the first attempt and 11 repetitions
    assert (row.attempts, len(never.tries)) == (12, 12)
    assert row.last_error == "503"


def test_three_failures_tell_the_fallback_and_the_channel_still_gets_it(
    database: Database, incident_id: IncidentId
) -> None:
    queue(database, incident_id)
    oncall, spare = Scripted(*[DeliveryFailed("503")] * 4), Scripted()
    with delivering(
        database, configured("oncall", oncall, fallback="spare"), configured("spare", spare)
    ):
        until(lambda: bool(oncall.taken) and bool(spare.taken))
    assert len(spare.taken) == 1
    assert spare.taken[0][1] == oncall.taken[0][1]


def test_two_failures_do_not_tell_the_fallback(database: Database, incident_id: IncidentId) -> None:
    queue(database, incident_id)
    oncall, spare = Scripted(*[DeliveryFailed("503")] * 2), Scripted()
    with delivering(
        database, configured("oncall", oncall, fallback="spare"), configured("spare", spare)
    ):
        until(lambda: bool(oncall.taken))
    assert spare.tries == []


def test_a_message_that_waits_too_long_tells_the_fallback_untried(
    database: Database, incident_id: IncidentId
) -> None:
    for number in (1, 2):
        queue(database, incident_id, number=number)
    slow = DelivererSettings(
        poll=timedelta(milliseconds=20),
        escalate_after=timedelta(milliseconds=100),
        retries=RetrySchedule(delays=(3600.0,)),
    )
    oncall, spare = Scripted(DeliveryFailed("503")), Scripted()
    channels = [configured("oncall", oncall, fallback="spare"), configured("spare", spare)]
    with delivering(database, *channels, settings=slow):
        until(lambda: len(spare.taken) == 2)
    assert [alert.number for _, alert in spare.taken] == [1, 2]
    assert len(oncall.tries) == 1


def test_a_slow_receiver_is_told_at_its_pace_and_holds_up_nobody(
    database: Database, incident_id: IncidentId
) -> None:
    for number in range(1, 31):
        queue(database, incident_id, channel="slow", number=number)
    queue(database, incident_id, channel="quick", number=31)
    slow, quick = Scripted(), Scripted()
    paced = ConfiguredChannel(
        name="slow", channel=slow, pace=MessageRate(per_second=0.001, burst=3)
    )
    with delivering(database, paced, configured("quick", quick)):
        until(lambda: len(slow.taken) == 3 and len(quick.taken) == 1)
        threading.Event().wait(0.2)
    assert [alert.number for _, alert in slow.taken] == [1, 2, 3]
    waiting = [row for row in rows(database) if row.state is DeliveryState.QUEUED]
    assert [row.attempts for row in waiting] == [0] * 27


def test_a_poisoned_message_waits_an_hour_and_the_others_go_on(
    database: Database, incident_id: IncidentId
) -> None:
    with database.begin() as tx:
        poison = str(
            outbox.enqueue(tx, channel="oncall", alert={"not": "an alert"}, incident_id=incident_id)
        )
        other = incident(tx, register(tx, "travel"), number=1)
    good = queue(database, other)
    channel = Scripted()
    with delivering(database, configured("oncall", channel)):
        until(lambda: any(row.last_error for row in rows(database)) and bool(channel.taken))
    assert [message_id for message_id, _ in channel.taken] == [good]
    (row,) = [row for row in rows(database) if str(row.id) == poison]
    assert row.state is DeliveryState.QUEUED
    assert row.next_at - row.created_at > timedelta(minutes=59)
    assert row.last_error == "ValueError in the channel"


def test_messages_of_an_incident_arrive_in_order_through_failures(
    database: Database, incident_id: IncidentId
) -> None:
    statuses = [Status.STARTED, Status.WORSENED, Status.RECOVERED]
    with database.begin() as tx:
        for status in statuses:
            outbox.enqueue(
                tx,
                channel="oncall",
                alert=message(1, status),
                incident_id=incident_id,
            )
    channel = Scripted(DeliveryFailed("503"), DeliveryFailed("503"))
    with delivering(database, configured("oncall", channel)):
        until(lambda: settled(database))
    assert [alert.status for _, alert in channel.taken] == statuses


def test_two_deliverers_on_one_database_send_each_message_once(database: Database) -> None:
    with database.begin() as tx:
        version = register(tx)
        for number in range(1, 61):
            outbox.enqueue(
                tx,
                channel="oncall",
                alert=message(number),
                incident_id=incident(tx, version, number),
            )
    one, two = Scripted(), Scripted()
    with (
        delivering(database, configured("oncall", one)),
        delivering(database, configured("oncall", two)),
    ):
        until(lambda: settled(database))
    ids = [message_id for message_id, _ in [*one.taken, *two.taken]]
    assert len(ids) == len(set(ids)) == 60


class Held:
    """A channel that answers when it is let go."""

    def __init__(self) -> None:
        self.started, self.go = threading.Event(), threading.Event()

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        del alert, message_id
        self.started.set()
        self.go.wait(PATIENCE)
        return Delivered()


def test_stop_finishes_what_is_being_sent(database: Database, incident_id: IncidentId) -> None:
    queue(database, incident_id)
    channel = Held()
    deliverer = Deliverer(database, [configured("oncall", channel)], settings=FAST)
    deliverer.start()
    assert channel.started.wait(PATIENCE)
    threading.Timer(0.1, channel.go.set).start()
    deliverer.stop()
    (row,) = rows(database)
    assert row.state is DeliveryState.DELIVERED
    assert not deliverer._thread.is_alive()  # noqa: SLF001 - others may run in this process


def test_stop_gives_back_what_does_not_finish(database: Database, incident_id: IncidentId) -> None:
    queue(database, incident_id)
    channel = Held()
    deliverer = Deliverer(database, [configured("oncall", channel)], settings=FAST)
    deliverer.start()
    assert channel.started.wait(PATIENCE)
    deliverer.stop(timeout=0.1)
    with database.begin() as tx:
        (again,) = outbox.claim(tx, channels=["oncall"], limit=1, lease=timedelta(seconds=1))
    assert again.attempts == 2
    channel.go.set()
    until(lambda: settled(database))  # the late answer is a fact all the same


def test_a_wake_up_delivers_long_before_the_next_poll(
    database: Database, incident_id: IncidentId
) -> None:
    lazy = DelivererSettings(poll=timedelta(hours=1))
    channel = Scripted()
    listening = threading.Event()
    with delivering(database, configured("oncall", channel), settings=lazy) as deliverer:

        def wake(payload: str) -> None:
            del payload
            listening.set()
            deliverer.wake()

        wake_ups = WakeUps(database)
        wake_ups.on(OUTBOX, wake)
        wake_ups.start()
        assert listening.wait(PATIENCE)
        queue(database, incident_id)
        until(lambda: bool(channel.taken))
        wake_ups.stop()


def test_a_lost_database_does_not_end_the_deliverer(database_url: str) -> None:
    gone = Database(database_url)  # has no tables: every turn fails
    lost = Deliverer(gone, [configured("oncall", Scripted())], settings=FAST)
    lost.start()
    first = lost.last_turn
    until(lambda: lost.last_turn > first + 0.1)
    later = lost.last_turn
    until(lambda: lost.last_turn > later)
    lost.stop()
    gone.close()


def test_messages_for_no_channel_are_handed_on_at_once_and_hold_nobody_up(
    database: Database,
) -> None:
    # a sweep is due every 5 s: that many would take longer than the test's patience
    sweeps = int(PATIENCE / 5) + 2
    with database.begin() as tx:
        version = register(tx)
        stranded = [incident(tx, version, n + 1) for n in range(MOST_AT_ONCE * sweeps)]
        for one in stranded:
            outbox.enqueue(tx, channel="renamed", alert=message(), incident_id=one)
    queue(database, stranded[-1], number=2)
    channel = Scripted()
    swift = replace(FAST, escalate_after=timedelta(seconds=5))
    with database.begin() as tx:
        tx.execute(
            outbox_table.update()
            .where(outbox_table.c.channel == "renamed")
            .values(next_at=sa.func.now() - timedelta(minutes=1))
        )
    with delivering(database, configured("oncall", channel), settings=swift):
        until(lambda: settled(database))
    states = [row.state for row in rows(database) if row.channel == "renamed"]
    assert states == [DeliveryState.DEAD] * len(stranded)
    assert len(channel.taken) == 1


def test_each_attempt_has_a_span_that_says_what_became_of_it(
    database: Database, incident_id: IncidentId
) -> None:
    queue(database, incident_id)
    refused = DeliveryFailed("the receiver answered 429", status=429)
    channel = Scripted(refused, RuntimeError("never to be seen"))
    with (
        Receiver([answer(200)]) as collector,
        traced(collector),
        delivering(database, configured("oncall", channel)),
    ):
        until(lambda: len(channel.tries) == 2)
    told = [span.attributes for span in sent_to(collector)]
    common = {
        "driftline.channel": "oncall",
        "driftline.incident": incident_id,
        "driftline.kind": "drift",
        "driftline.adapter": "support",
        "driftline.version": "v7",
    }
    assert told == [
        common
        | {"driftline.attempt": 1, "driftline.outcome": "retried"}
        | {"error.type": "DeliveryFailed", "http.response.status_code": 429},
        common
        | {"driftline.attempt": 2, "driftline.outcome": "poisoned"}
        | {"error.type": "RuntimeError"},
    ]
