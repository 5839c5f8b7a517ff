from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from monitor.domain import IncidentId
from monitor.store.database import Database
from monitor.store.incidents import deliveries, escalation, outbox, receivers
from monitor.store.incidents.outbox import CLAIM, Claimed, DeliveryState
from tests.fleet import incident, message, register

LEASE = timedelta(seconds=60)


@pytest.fixture
def incident_id(database: Database) -> IncidentId:
    with database.begin() as tx:
        return incident(tx, register(tx))


def queue(
    database: Database, incident_id: IncidentId | None, channel: str = "oncall", number: int = 1
) -> UUID:
    with database.begin() as tx:
        return outbox.enqueue(tx, channel=channel, alert=message(number), incident_id=incident_id)


def claim(database: Database, *, limit: int = 10, lease: timedelta = LEASE) -> list[Claimed]:
    with database.begin() as tx:
        return outbox.claim(tx, channels=["oncall", "chat"], limit=limit, lease=lease)


def state(database: Database, message_id: UUID) -> DeliveryState:
    with database.begin() as tx:
        row = deliveries.fetch(tx, message_id)
    assert row is not None
    return row.state


def test_a_queued_message_is_there_for_a_second_connection_once_committed(
    database: Database, incident_id: IncidentId
) -> None:
    other = Database(database.engine.url.render_as_string(hide_password=False))
    with database.begin() as tx:
        written = outbox.enqueue(tx, channel="oncall", alert=message(), incident_id=incident_id)
        with other.begin() as reader:
            assert deliveries.fetch(reader, written) is None
    with other.begin() as reader:
        assert deliveries.fetch(reader, written) is not None
    other.close()


def test_a_message_is_claimed_once_until_its_lease_ends(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    first = claim(database, lease=timedelta(0))
    again = claim(database)
    assert [one.id for one in first] == [sent]
    assert [(one.id, one.attempts) for one in again] == [(sent, 2)]
    assert claim(database) == []


def test_many_claimers_at_once_never_share_a_message(database: Database) -> None:
    sent = {queue(database, None) for _ in range(40)}
    with ThreadPoolExecutor(8) as pool:
        taken = [one for got in pool.map(lambda _: claim(database), range(8)) for one in got]
    assert len(taken) == len({one.id for one in taken})
    rest = claim(database, limit=100)
    assert {one.id for one in [*taken, *rest]} == sent


def test_a_later_message_waits_for_the_older_one_of_its_channel_and_incident(
    database: Database, incident_id: IncidentId
) -> None:
    first = queue(database, incident_id)
    second = queue(database, incident_id, number=2)
    elsewhere = queue(database, incident_id, "chat", number=2)
    claimed = {one.id for one in claim(database)}
    assert claimed == {first, elsewhere}
    with database.begin() as tx:
        assert outbox.mark_delivered(tx, first)
    assert [one.id for one in claim(database)] == [second]


def test_a_dead_message_lets_the_next_one_pass(database: Database, incident_id: IncidentId) -> None:
    queue(database, incident_id)
    second = queue(database, incident_id, number=2)
    (head,) = claim(database)
    with database.begin() as tx:
        assert outbox.bury(tx, head, error="410")
    assert [one.id for one in claim(database)] == [second]


def test_who_lost_the_lease_can_neither_postpone_nor_bury(
    database: Database, incident_id: IncidentId
) -> None:
    queue(database, incident_id)
    (slow,) = claim(database, lease=timedelta(0))
    (quick,) = claim(database)
    with database.begin() as tx:
        assert not outbox.postpone(tx, slow, delay=LEASE, error="503")
        assert not outbox.bury(tx, slow, error="503")
        assert not outbox.release(tx, slow)
        assert outbox.postpone(tx, quick, delay=LEASE, error="503")


def test_a_delivery_is_a_fact_even_after_the_lease_was_lost(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    claim(database, lease=timedelta(0))
    (quick,) = claim(database)
    with database.begin() as tx:
        assert outbox.bury(tx, quick, error="410")
        assert outbox.mark_delivered(tx, sent)
    assert state(database, sent) is DeliveryState.DELIVERED


def test_a_released_message_is_due_at_once(database: Database, incident_id: IncidentId) -> None:
    queue(database, incident_id)
    (held,) = claim(database)
    with database.begin() as tx:
        assert outbox.release(tx, held)
    assert [one.id for one in claim(database)] == [held.id]


def test_the_fallback_gets_one_copy_however_often_it_is_told(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    with database.begin() as tx:
        assert escalation.escalate(tx, sent, fallback="chat")
        assert not escalation.escalate(tx, sent, fallback="chat")
        again = escalation.escalate_overdue(
            tx, channel="oncall", fallback="chat", after=timedelta(0)
        )
        assert again == 0
        rows = deliveries.newest(tx, incident_id=incident_id)
    assert [row.channel for row in rows] == ["chat", "oncall"]
    assert rows[0].alert == rows[1].alert


def test_overdue_messages_reach_the_fallback_in_order_even_those_never_tried(
    database: Database, incident_id: IncidentId
) -> None:
    for number in range(1, 6):
        queue(database, incident_id, number=number)
    with database.begin() as tx:
        told = escalation.escalate_overdue(
            tx, channel="oncall", fallback="chat", after=timedelta(0)
        )
        rows = [row for row in deliveries.newest(tx) if row.channel == "chat"]
    assert told == 5
    assert [row.alert["number"] for row in rows] == [5, 4, 3, 2, 1]  # newest first


def test_a_message_younger_than_the_patience_stays_where_it_is(
    database: Database, incident_id: IncidentId
) -> None:
    queue(database, incident_id)
    with database.begin() as tx:
        told = escalation.escalate_overdue(
            tx, channel="oncall", fallback="chat", after=timedelta(minutes=2)
        )
    assert told == 0


def test_a_dead_letter_can_be_replayed_and_nothing_else(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    (held,) = claim(database)
    with database.begin() as tx:
        assert not deliveries.replay(tx, sent)
        outbox.bury(tx, held, error="410")
        assert deliveries.replay(tx, sent)
    (again,) = claim(database)
    assert (again.id, again.attempts) == (sent, 1)


def test_the_oldest_age_counts_undelivered_messages_only(
    database: Database, incident_id: IncidentId
) -> None:
    sent = queue(database, incident_id)
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE outbox SET created_at = now() - interval '90 s'"))
        assert receivers.oldest_seconds(tx) == pytest.approx(90, abs=1)
        outbox.mark_delivered(tx, sent)
        assert receivers.oldest_seconds(tx) == 0.0


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def test_a_claim_touches_few_rows_however_many_were_delivered(
    database: Database, incident_id: IncidentId
) -> None:
    with database.begin() as tx:
        tx.execute(
            sa.text(
                "INSERT INTO outbox (id, channel, incident_id, alert, state, next_at)"
                " SELECT gen_random_uuid(), 'oncall', :incident, '{}'::jsonb,"
                " CASE WHEN n <= 20000 THEN 'delivered' ELSE 'queued' END,"
                " now() + CASE WHEN n % 2 = 0 THEN interval '1 h' ELSE interval '-1 s' END"
                " FROM generate_series(1, 20200) AS n"
            ),
            {"incident": incident_id},
        )
        tx.execute(sa.text("ANALYZE outbox"))
        explained = tx.execute(
            sa.text(f"EXPLAIN (ANALYZE, FORMAT JSON) {CLAIM.text}"),
            {"channels": ["oncall"], "limit": 4, "lease": LEASE},
        ).scalar_one()
    # Actual Rows is an average over loops; what was read is their product.
    read = sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in nodes(explained[0]["Plan"])
        if "Scan" in node["Node Type"] and node.get("Relation Name") == "outbox"
    )
    # 200 are queued; reading any delivered ones would make it thousands.
    assert read <= 1000


def test_a_channel_that_takes_nothing_for_ten_minutes_is_degraded(database: Database) -> None:
    with database.begin() as tx:
        for name in ("slow", "broken", "broken"):
            outbox.enqueue(tx, channel=name, alert=message())
        outbox.enqueue(tx, channel="broken", alert={"test": True})
        tx.execute(sa.text("UPDATE outbox SET created_at = now() - interval '599 s'"))
        for one in outbox.claim(tx, channels=["broken"], limit=9, lease=timedelta(seconds=9)):
            if one.alert["test"]:
                assert outbox.bury(tx, one, error="503")  # a trial that failed is no dead letter
            else:
                assert outbox.postpone(tx, one, delay=timedelta(hours=1), error="503")
        found = receivers.health(tx)
        assert (found["broken"].waiting, found["slow"].waiting) == (2, 1)
        assert found["broken"].failing == found["slow"].oldest
        assert not found["broken"].degraded
        tx.execute(sa.text("UPDATE outbox SET created_at = created_at - interval '1 second'"))
        found = receivers.health(tx)
        assert found["broken"].degraded
        # what was never tried says nothing of the receiver
        assert (found["slow"].degraded, found["slow"].failing) == (False, timedelta())
        tx.execute(sa.text("UPDATE outbox SET state = 'dead' WHERE channel = 'broken'"))
        assert receivers.health(tx)["broken"] == receivers.ChannelHealth(dead=2)
