"""What waits in the store, what lets it go, and that it reaches people as one message."""

import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.brief import brief
from alerts.channels import open_channel
from alerts.closing import Closing
from alerts.delivery import Delivered, DeliveryFailed
from alerts.matching import parse_matcher
from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.retry import RetrySchedule
from alerts.silences import Silence
from alerts.telling import Manner
from alerts.types import Blame, Kind, Severity, VerdictKind
from monitor.domain import ArmKind, ChangeKind, IncidentId, Interval, Version
from monitor.outbox.acknowledging import acknowledge
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.marking import Hearers
from monitor.outbox.record import record_closing, record_observation
from monitor.outbox.stranded import NO_CHANNEL, rescue
from monitor.outbox.telling import tell_each
from monitor.policy import Memory
from monitor.store import clock, partitions
from monitor.store.clock import Watcher
from monitor.store.database import Database
from monitor.store.evaluation import evaluations
from monitor.store.incidents import deliveries, incidents, outbox, silences
from monitor.store.incidents import telling as store
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.outbox import DeliveryState
from monitor.store.people import changes
from monitor.store.people.changes import Declaration
from monitor.store.registry import adapters
from monitor.store.tables.evaluations import verdicts
from monitor.store.tables.incidents import held
from monitor.store.tables.incidents import incidents as incidents_table
from monitor.store.tables.incidents import silences as silences_table
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from tests import worlds
from tests.fleet import register, verdict
from tests.loopback import LOOPBACK, Receiver, answer
from tests.service import until

STABLE, DRIFTING, CRITICAL = VerdictKind.STABLE, VerdictKind.DRIFTING, VerdictKind.CRITICAL
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
TOGETHER = Manner(
    wait=30 * SECOND,
    interval=300 * SECOND,
    together=True,
    repeat=MappingProxyType({Severity.PAGE: 4 * HOUR, Severity.TICKET: 24 * HOUR}),
)


class Nowhere:
    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        raise AssertionError(f"{message_id} was sent while {alert.id} was being recorded")


DESK = ConfiguredChannel(name="desk", channel=Nowhere(), manner=TOGETHER)
LOG = ConfiguredChannel(name="log", channel=Nowhere())


@pytest.fixture
def fleet(database: Database) -> list[Version]:
    with database.begin() as tx:
        return [register(tx, name) for name in ("support", "billing", "legal")]


def see(
    tx: Connection,
    version: Version,
    kind: VerdictKind,
    *,
    blame: Blame = Blame.ADAPTER,
    channels: Sequence[ConfiguredChannel] = (DESK, LOG),
    **also: Any,
) -> None:
    adapter = adapters.fetch(tx, version.adapter)
    assert adapter is not None
    record_observation(
        tx,
        version,
        verdict=verdict(kind, blame=blame),
        inputs=AlertInputs(adapter=adapter),
        channels=channels,
        now=datetime.now(tz=UTC),
        **also,
    )


def take_in_hand(
    tx: Connection, version: Version, *, lasts: timedelta, asked: Collection[str] = ("desk",)
) -> IncidentId:
    taken = incidents.open_one(tx, version, kind="drift")
    assert taken is not None
    hearers = Hearers(acknowledging=asked)
    acknowledge(tx, taken, by="ann", lasts=lasts, now=datetime.now(tz=UTC), hearers=hearers)
    return taken


def silence(tx: Connection, match: Mapping[str, object], *, hours: float) -> Silence:
    """Silence from an hour ago on, for ``hours`` from now."""
    now = datetime.now(tz=UTC)
    return silences.add(
        tx,
        parse_matcher(match),
        starts_at=now - HOUR,
        ends_at=now + hours * HOUR,
        author="ann",
        comment="the load test",
    )


def tell(database: Database, after: timedelta, *, manner: Manner = TOGETHER) -> int:
    with database.begin() as tx:
        queued, failed = tell_each(tx, {"desk": manner}, now=datetime.now(tz=UTC) + after)
    assert failed == []
    return queued


def told_of(database: Database, version: Version, kind: VerdictKind) -> None:
    """Let it be seen, and told after the wait."""
    with database.begin() as tx:
        see(tx, version, kind)
    assert tell(database, 60 * SECOND) == 1


def sent(database: Database, channel: str = "desk") -> list[DeliveryRow]:
    with database.begin() as tx:
        return [row for row in deliveries.newest(tx)[::-1] if row.channel == channel]


def said(rows: list[DeliveryRow]) -> list[tuple[object, ...]]:
    names = ("adapter", "status", "notification_reason")
    return [tuple(row.alert[name] for name in names) for row in rows]


def test_what_belongs_together_reaches_people_as_one_message(
    database: Database, fleet: list[Version]
) -> None:
    support, billing, legal = fleet
    with database.begin() as tx:
        see(tx, support, DRIFTING)
        see(tx, billing, CRITICAL)
    assert (len(sent(database, "log")), sent(database)) == (2, [])
    assert tell(database, 20 * SECOND) == 0
    assert tell(database, 31 * SECOND) == 1
    first = [
        ("billing", "started", "first_notification"),
        ("support", "started", "first_notification"),
    ]
    assert said(sent(database)) == first
    with database.begin() as tx:
        see(tx, support, STABLE)
        see(tx, legal, DRIFTING)
    assert tell(database, 60 * SECOND) == 0
    with Receiver([answer(503), answer(200)]) as receiver:
        webhook = open_channel(
            "webhook",
            {"url": receiver.url, "secret": SECRET},
            client=OutgoingClient(OutgoingPolicy(allow=LOOPBACK)),
        )

        deliverer = Deliverer(
            database,
            [ConfiguredChannel(name="desk", channel=webhook, manner=TOGETHER)],
            settings=DelivererSettings(
                poll=timedelta(milliseconds=50), retries=RetrySchedule(delays=(0.05,) * 5)
            ),
        )
        deliverer.start()
        assert tell(database, 301 * SECOND) == 1
        until(
            lambda: all(row.state is DeliveryState.DELIVERED for row in sent(database)),
            "all delivered",
        )
        deliverer.stop()
    bodies = [json.loads(seen.body) for seen in receiver.seen]
    listed = [[line["adapter"] for line in body["group"]["alerts"]] for body in bodies]
    # the first was refused once and came again under its id; only then the second
    assert listed == [["billing", "support"]] * 2 + [["legal", "support"]]
    ids = [seen.headers["webhook-id"] for seen in receiver.seen]
    assert ids[0] == ids[1] != ids[2]
    assert said(sent(database))[2:] == [
        ("legal", "started", "new_alerts_in_group"),
        ("support", "recovered", "new_alerts_in_group"),
    ]


def test_fired_and_gone_within_the_wait_is_never_told_but_stays_on_record(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], CRITICAL)
        see(tx, fleet[0], STABLE)
        assert not store.any_held(tx)
    assert tell(database, 2 * HOUR) == 0
    assert sent(database) == []
    with database.begin() as tx:
        [row] = incidents.incident_list(tx)
        assert row.closed_at is not None
        assert not store.any_held(tx)
    # the log waits for nothing
    assert [status for _, status, _ in said(sent(database, "log"))] == ["started", "recovered"]


def test_a_person_who_ends_what_nobody_was_told_tells_nobody(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], DRIFTING)
        see(tx, fleet[1], DRIFTING)
    assert tell(database, 31 * SECOND) == 1
    with database.begin() as tx:
        see(tx, fleet[2], DRIFTING)
        for version in (fleet[0], fleet[2]):
            adapter = adapters.fetch(tx, version.adapter)
            assert adapter is not None
            record_closing(
                tx,
                version,
                kind=Kind.DRIFT,
                why=Closing.FALSE_PAGE,
                verdict=verdict(DRIFTING),
                inputs=AlertInputs(adapter=adapter),
                channels=["desk", "log"],
                now=datetime.now(tz=UTC),
            )
    # whoever knew of it hears at once: no wait, no interval
    assert said(sent(database))[2:] == [("support", "recovered", "all_alerts_resolved")]


def test_while_silenced_nothing_is_sent_and_what_is_still_open_is_told_afterwards(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        made = silence(tx, {"adapter": ["support", "billing"], "kind": "drift"}, hours=1)
        see(tx, fleet[0], DRIFTING)
        see(tx, fleet[0], CRITICAL)
        see(tx, fleet[1], DRIFTING)
        see(tx, fleet[2], DRIFTING)
        see(tx, fleet[1], STABLE)
    assert tell(database, 60 * SECOND) == 1
    assert [who for who, *_ in said(sent(database))] == ["legal"]
    assert [who for who, *_ in said(sent(database, "log"))] == ["legal"]
    with database.begin() as tx:
        assert len(incidents.incident_list(tx, open_only=True)) == 2
        assert silences.expire(tx, made.id, now=datetime.now(tz=UTC))
        assert not silences.expire(tx, made.id, now=datetime.now(tz=UTC))
    tell(database, 60 * SECOND)
    assert said(sent(database))[1:] == [("support", "worsened", "new_alerts_in_group")]
    assert [who for who, *_ in said(sent(database, "log"))] == ["legal", "support"]


FIRST = ConfiguredChannel(name="first", channel=Nowhere(), manner=Manner(wait=30 * SECOND))
LATER = ConfiguredChannel(
    name="later", channel=Nowhere(), manner=Manner(unacknowledged_for=900 * SECOND)
)


def names_told(
    database: Database,
    after: timedelta,
    *,
    first: Manner = FIRST.manner,
    fails: Sequence[str] = (),
) -> list[str]:
    """Tell as a daemon does that began just now, and give the channels told so far."""
    manners = {"later": LATER.manner, "first": first}
    with database.begin() as tx:
        assert tell_each(tx, manners, now=datetime.now(tz=UTC) + after)[1] == list(fails)
        return [row.channel for row in deliveries.newest(tx)[::-1]]


def test_the_next_channel_is_called_when_the_first_was_told_long_enough_before(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        made = silence(tx, {"adapter": "support"}, hours=9)
        see(tx, fleet[0], CRITICAL, channels=(LATER, FIRST))
    with database.begin() as tx:
        tx.execute(held.update().values(at=held.c.at - HOUR))
    assert names_told(database, 60 * SECOND) == []
    with database.begin() as tx:
        silences.expire(tx, made.id, now=datetime.now(tz=UTC))
    assert names_told(database, 60 * SECOND) == ["first"]
    assert names_told(database, 840 * SECOND) == ["first"]
    assert names_told(database, 960 * SECOND) == ["first", "later"]


def test_the_next_channel_waits_for_none_that_cannot_be_told(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], CRITICAL, channels=(LATER, FIRST))
    odd = replace(TOGETHER, by=("weather",))
    for after, told in ((840, []), (960, ["later"])):
        assert names_told(database, after * SECOND, first=odd, fails=["first"]) == told


def test_missing_records_hold_back_a_ticket_of_drift_until_they_come(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], VerdictKind.INSUFFICIENT, silence=Severity.TICKET)
        see(tx, fleet[0], DRIFTING, silence=Severity.TICKET)
    assert tell(database, 60 * SECOND) == 1
    assert [row.alert["kind"] for row in sent(database)] == ["no_data"]
    with database.begin() as tx:
        see(tx, fleet[0], DRIFTING)
    assert tell(database, 400 * SECOND) == 2
    assert [(row.alert["kind"], row.alert["status"]) for row in sent(database)[1:]] == [
        ("drift", "started"),
        ("no_data", "recovered"),
    ]


def test_what_belongs_to_a_fleet_incident_by_then_is_told_with_it_alone(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], DRIFTING)
        see(tx, fleet[0], DRIFTING, blame=Blame.BASE)
        see(tx, fleet[1], DRIFTING, blame=Blame.BASE)
    assert tell(database, 31 * SECOND) == 1
    [row] = sent(database)
    assert row.alert["adapter"] == ""
    assert row.alert["blame"] == "base"
    with database.begin() as tx:  # the base is well again, one of them is not
        see(tx, fleet[1], STABLE)
        see(tx, fleet[0], DRIFTING)
    assert tell(database, 400 * SECOND) == 2
    assert sorted(said(sent(database))[1:]) == [
        ("", "recovered", "all_alerts_resolved"),
        ("support", "started", "first_notification"),
    ]


def test_a_channel_that_cannot_be_worked_out_keeps_no_other_one_back(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], DRIFTING)
        [row] = store.take(tx)
        store.hold(
            tx,
            channel="chat",
            alert=row.alert,
            incident_id=row.incident_id,
            transition_id=None,
        )
        store.hold(
            tx, channel="old", alert={"not": "one"}, incident_id=row.incident_id, transition_id=None
        )
    odd = {"chat": replace(TOGETHER, by=("weather",)), "desk": TOGETHER, "old": TOGETHER}
    now = datetime.now(tz=UTC) + 60 * SECOND
    with database.begin() as tx:
        assert tell_each(tx, odd, now=now) == (1, ["chat"])
    assert len(sent(database)) == 1
    # what nobody can read waits no more: its delivery fails, and says so
    assert [row.alert for row in sent(database, "old")] == [{"not": "one"}]
    with database.begin() as tx:
        assert [row.channel for row in store.take(tx)] == ["chat"]


def test_what_a_later_release_wrote_keeps_no_page_back(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        tx.execute(
            silences_table.insert().values(
                match={"adapter": ["support"], "moon": ["full"]},
                starts_at=datetime.now(tz=UTC) - HOUR,
                ends_at=datetime.now(tz=UTC) + 24 * HOUR,
                author="ann",
                comment="from another release",
            )
        )
        see(tx, fleet[0], CRITICAL)
    assert tell(database, 60 * SECOND) == 1
    with database.begin() as tx:
        tx.execute(incidents_table.update().values(state={"phase": "waning"}))
        see(tx, fleet[1], CRITICAL)
    assert tell(database, 120 * SECOND) == 1
    assert [who for who, *_ in said(sent(database))] == ["support", "billing"]


def test_what_stays_open_is_told_again_unless_somebody_has_it_in_hand(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], CRITICAL)
        see(tx, fleet[1], CRITICAL)
    assert tell(database, 60 * SECOND) == 1
    with database.begin() as tx:
        taken = take_in_hand(tx, fleet[1], lasts=24 * HOUR)
    # the receiver that keeps alerts of its own knows who has it; the log was not asked
    assert said(sent(database))[2:] == [("billing", "acknowledged", "acknowledged")]
    assert tell(database, 3 * HOUR) == 0
    assert tell(database, 5 * HOUR) == 1
    assert said(sent(database))[3:] == [("support", "started", "repeat_interval_elapsed")]
    assert tell(database, 26 * HOUR) == 1
    assert sorted(said(sent(database))[4:]) == [
        ("billing", "started", "acknowledgement_ended"),
        ("support", "started", "repeat_interval_elapsed"),
    ]
    with database.begin() as tx:
        row = incidents.incident(tx, taken)
        assert row is not None
        assert row.acknowledged_by == "ann"


def test_what_was_told_by_a_clock_that_was_ahead_holds_nothing_up(
    database: Database, fleet: list[Version]
) -> None:
    """Before, repeats and a group's next tickets waited for four months."""
    back = timedelta(days=-120)
    with database.begin() as tx:
        see(tx, fleet[0], DRIFTING)
    assert tell(database, 60 * SECOND) == 1
    with database.begin() as tx:
        see(tx, fleet[1], DRIFTING)
        tx.execute(held.update().values(at=sa.func.now() + back))
        Watcher().look(tx)
        stands, known = clock.now(tx) + back, clock.read(tx)
        assert known is not None
        clock.write(tx, replace(known, seen=stands, steady_since=stands, jumped=back))
    assert tell(database, back + 60 * SECOND) == 0  # the interval
    assert tell(database, back + 400 * SECOND) == 1
    assert [who for who, *_ in said(sent(database))] == ["support", "billing"]
    assert tell(database, back + 25 * HOUR) == 1
    again = [(who, "started", "repeat_interval_elapsed") for who in ("billing", "support")]
    assert sorted(said(sent(database))[2:]) == again


def test_a_repeat_says_what_is_known_and_was_done_by_then(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], CRITICAL, blame=Blame.UNKNOWN)
    assert tell(database, 60 * SECOND) == 1
    now = datetime.now(tz=UTC)
    onset = Interval(start=now - HOUR, end=now - HOUR / 2)
    found = replace(
        verdict(CRITICAL), reason="page evidence 3.1", detectors=("repetition",), onset=onset
    )
    score = worlds.a_score(
        fleet[0], "repetition", now, value=0.4, notice=5.2, page=3.1, effect=0.42
    )
    with database.begin() as tx:
        worlds.put_verdict(tx, fleet[0], found, drift=80.0)
        changes.add(
            tx,
            Declaration(
                kind=ChangeKind.ENGINE,
                title="vLLM 0.33",
                adapters=("support",),
                begun_at=onset.start - 10 * SECOND,
                ended_at=onset.start,
                author="ann",
            ),
        )
        partitions.ensure(tx, {score.window.end.date()}, tables=("scores",))
        evaluations.put_scores(tx, [score])
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)],
            expected_generation=0,
            reason="nothing else is left",
            actor="ann",
            now=now,
        )
    assert tell(database, 5 * HOUR) == 1
    first, again = (row.alert for row in sent(database))
    assert (first["blame"], first["reason"]) == ("unknown", "evidence says critical")
    assert (again["blame"], again["reason"]) == ("adapter", "page evidence 3.1")
    said_now = str(again["summary"]).split("; ")
    assert said_now[0].startswith("support@v7: 43 % of answers repeat themselves (normally 1 %)")
    assert said_now[1:] == ["v7 has its traffic"]
    assert again["cause"] == "adapter (likely)"
    read = alert_from_json(again)
    assert [change.title for change in read.changes] == ["vLLM 0.33"]
    assert [(line.detector, line.effect) for line in read.scores] == [("repetition", 0.42)]
    assert again["action"] == {
        "done": "taken",
        "kind": "route",
        "text": "the route was set to v7 by ann: nothing else is left",
        "short": "v7 has its traffic",
        "unconfirmed": False,
        "under_way": False,
        "instead": "",
        "target": "",
        "then": "",
        "shared": False,
    }
    with database.begin() as tx:  # and whoever looks it up reads what was told last
        [row] = incidents.incident_list(tx)
    assert (row.blame, row.summary) == (Blame.ADAPTER, again["summary"])


def test_a_repeat_of_what_cannot_be_read_any_more_says_what_was_told(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], CRITICAL)
    assert tell(database, 60 * SECOND) == 1
    with database.begin() as tx:
        worlds.put_verdict(tx, fleet[0], verdict(DRIFTING, blame=Blame.INPUT), drift=80.0)
        odd = Memory().to_json() | {"classic": ["from another release"]}
        tx.execute(verdicts.update().values(memory=odd))
    assert tell(database, 5 * HOUR) == 1
    first, again = (row.alert for row in sent(database))
    assert again["notification_reason"] == "repeat_interval_elapsed"
    assert [again[name] for name in ("verdict", "blame", "summary")] == [
        first[name] for name in ("verdict", "blame", "summary")
    ]


def test_a_repeat_of_a_fleet_incident_names_those_that_have_joined(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], DRIFTING, blame=Blame.BASE)
    assert tell(database, 60 * SECOND) == 1
    with database.begin() as tx:
        see(tx, fleet[1], DRIFTING, blame=Blame.BASE)
    assert tell(database, 25 * HOUR) == 1
    said = [brief(alert_from_json(row.alert)).impact for row in sent(database)]
    assert [("billing@v7" in one, "support@v7" in one) for one in said] == [
        (False, True),
        (True, True),
    ]


def test_what_is_taken_in_hand_before_it_was_told_calls_nobody_as_if_it_were_not(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        for version, asked in ((fleet[0], ["desk"]), (fleet[1], [])):
            see(tx, version, CRITICAL)
            take_in_hand(tx, version, lasts=HOUR, asked=asked)
    assert [(who, status) for who, status, _ in said(sent(database))] == [
        ("support", "started"),
        ("support", "acknowledged"),
    ]
    assert tell(database, 60 * SECOND) == 1
    assert said(sent(database))[2:] == [("billing", "started", "first_notification")]


def test_whoever_had_a_ticket_in_hand_has_not_the_page(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        see(tx, fleet[0], DRIFTING)
        taken = take_in_hand(tx, fleet[0], lasts=24 * HOUR, asked=())
        row = incidents.incident(tx, taken)
        assert row is not None
        assert row.acknowledged_by == "ann"
        see(tx, fleet[0], CRITICAL)
        row = incidents.incident(tx, taken)
        assert row is not None
        assert (row.acknowledged_by, row.acknowledged_until) == (None, None)


def test_what_was_taken_in_hand_under_a_silence_is_told_with_who_has_it(
    database: Database, fleet: list[Version]
) -> None:
    with database.begin() as tx:
        made = silence(tx, {"adapter": "support"}, hours=1)
        see(tx, fleet[0], CRITICAL)
        take_in_hand(tx, fleet[0], lasts=24 * HOUR)
    pager = replace(TOGETHER, acknowledges=True)
    assert tell(database, 60 * SECOND, manner=pager) == 0
    with database.begin() as tx:
        silences.expire(tx, made.id, now=datetime.now(tz=UTC))
    assert tell(database, 60 * SECOND, manner=pager) == 2  # and the log
    assert [status for _, status, _ in said(sent(database))] == ["started", "acknowledged"]
    assert sent(database)[1].alert["reason"] == "acknowledged by ann"
    # an acknowledgement that has ended by then is no news
    with database.begin() as tx:
        made = silence(tx, {"adapter": "billing"}, hours=1)
        see(tx, fleet[1], CRITICAL)
        take_in_hand(tx, fleet[1], lasts=10 * SECOND)
        silences.expire(tx, made.id, now=datetime.now(tz=UTC))
    assert tell(database, 400 * SECOND, manner=pager) == 2
    assert [(who, status) for who, status, _ in said(sent(database))[2:]] == [
        ("billing", "started")
    ]


def test_what_somebody_is_ending_is_not_repeated_behind_its_end(
    database: Database, fleet: list[Version]
) -> None:
    told_of(database, fleet[0], CRITICAL)
    with database.begin() as tx:
        see(tx, fleet[0], STABLE)
        assert tell(database, 5 * HOUR) == 0  # it reads what was before, and waits for nobody
    assert tell(database, 5 * HOUR) == 1
    assert [status for _, status, _ in said(sent(database))] == ["started", "recovered"]


def test_who_has_it_in_hand_and_that_it_is_over_are_told_through_a_silence(
    database: Database, fleet: list[Version]
) -> None:
    told_of(database, fleet[0], CRITICAL)
    with database.begin() as tx:
        silence(tx, {"adapter": "support"}, hours=24)
        take_in_hand(tx, fleet[0], lasts=HOUR)
    assert tell(database, 5 * HOUR) == 0
    with database.begin() as tx:
        see(tx, fleet[0], STABLE)
    assert tell(database, 400 * SECOND) == 1
    assert [status for _, status, _ in said(sent(database))] == [
        "started",
        "acknowledged",
        "recovered",
    ]


def test_what_waits_for_a_channel_that_is_no_more_is_told_to_others(
    database: Database, fleet: list[Version]
) -> None:
    told_of(database, fleet[0], CRITICAL)
    pages = parse_matcher({"severity": "page"})
    tickets = parse_matcher({"severity": "ticket"})
    renamed = [
        ConfiguredChannel(name="pager", channel=Nowhere(), matcher=pages),
        ConfiguredChannel(name="mail", channel=Nowhere(), matcher=tickets),
        LOG,
    ]
    assert rescue(database, [DESK, LOG], after=timedelta()) == []
    assert rescue(database, renamed, after=HOUR) == []
    assert rescue(database, renamed, after=timedelta()) == ["desk"]
    [dead] = sent(database)
    assert (dead.state, dead.last_error) == (DeliveryState.DEAD, NO_CHANNEL)
    # the log had its own, and mail takes tickets
    assert said(sent(database, "pager")) == [("support", "started", "first_notification")]
    assert (len(sent(database, "log")), sent(database, "mail")) == (1, [])
    with database.begin() as tx:
        see(tx, fleet[0], STABLE, channels=renamed)
    assert [status for _, status, _ in said(sent(database, "pager"))] == ["started", "recovered"]


def test_what_is_over_by_then_is_told_to_nobody_else(
    database: Database, fleet: list[Version]
) -> None:
    told_of(database, fleet[0], CRITICAL)
    with database.begin() as tx:
        see(tx, fleet[0], STABLE)
    assert tell(database, 400 * SECOND) == 1
    pager = ConfiguredChannel(name="pager", channel=Nowhere())
    assert [rescue(database, [pager, LOG], after=timedelta()) for _ in range(3)] == [
        ["desk"],
        ["desk"],
        [],
    ]
    assert sent(database, "pager") == []
    assert [status for _, status, _ in said(sent(database, "log"))] == ["started", "recovered"]


class Picky:
    """Takes nothing that names billing: in a list it breaks, alone it refuses for good."""

    def __init__(self, broken: Exception) -> None:
        self.broken = broken
        self.taken: list[str] = []

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        del message_id
        if alert.adapter == "billing":
            raise DeliveryFailed("refused", permanent=True)
        self.taken.append(alert.adapter)
        return Delivered()

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        del message_id
        if any(alert.adapter == "billing" for alert in alerts):
            raise self.broken
        self.taken.append("+".join(alert.adapter for alert in alerts))
        return Delivered()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(KeyError("billing"), id="breaks"),
        pytest.param(DeliveryFailed("refused", permanent=True), id="is refused"),
    ],
)
def test_one_that_cannot_be_told_keeps_back_none_of_its_group(
    database: Database, fleet: list[Version], broken: Exception
) -> None:
    with database.begin() as tx:
        for version in fleet:
            see(tx, version, CRITICAL)
    assert tell(database, 60 * SECOND) == 1
    picky = Picky(broken)
    deliverer = Deliverer(
        database,
        [ConfiguredChannel(name="desk", channel=picky, manner=TOGETHER), LOG],
        settings=DelivererSettings(poll=timedelta(milliseconds=50)),
    )
    with database.begin() as tx:  # nobody reads it here
        for row in deliveries.newest(tx):
            if row.channel == "log":
                outbox.mark_delivered(tx, row.id)
    deliverer.start()
    dead = DeliveryState.DEAD
    until(lambda: [r.state for r in sent(database)].count(dead) == 1, "one dead letter")
    until(lambda: sorted(picky.taken) == ["legal", "support"], "the others are told")
    deliverer.stop()


def test_what_waits_behind_its_own_earlier_message_makes_no_page_wait(
    database: Database, fleet: list[Version]
) -> None:
    told_of(database, fleet[0], DRIFTING)
    with database.begin() as tx:
        [stuck] = outbox.claim(tx, channels=["desk"], limit=9, lease=HOUR)
        assert outbox.postpone(tx, stuck, delay=HOUR, error="503")
        see(tx, fleet[0], STABLE)
        see(tx, fleet[1], CRITICAL)
        see(tx, fleet[2], CRITICAL)
    assert tell(database, 400 * SECOND) == 1
    with database.begin() as tx:
        [pages] = outbox.claim(tx, channels=["desk"], limit=9, lease=HOUR)
    assert [one["adapter"] for one in (pages.alert, *pages.beside)] == ["billing", "legal"]


def test_two_that_look_at_once_tell_once(database: Database, fleet: list[Version]) -> None:
    with database.begin() as tx:
        for version in fleet:
            see(tx, version, DRIFTING)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: tell(database, 60 * SECOND), range(6)))
    assert sum(done) == 1
    assert len(sent(database)) == 3
