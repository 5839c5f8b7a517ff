from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from alerts.closing import Closing
from alerts.delivery import Delivered
from alerts.matching import parse_matcher
from alerts.message import Alert
from alerts.types import Blame, Kind, VerdictKind
from alerts.types import Severity as Urgency
from alerts.words import clock_time
from monitor.domain import Version
from monitor.incident.reading import read_story
from monitor.outbox.channels import ConfiguredChannel, check_fallbacks
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.record import record_closing, record_observation
from monitor.store.database import Database
from monitor.store.incidents import deliveries, incidents, outbox
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.registry import adapters
from tests.alert_samples import CAUSE, UNSEEN, score_line
from tests.fleet import NOW, register, transition, verdict

STABLE, DRIFTING, CRITICAL = VerdictKind.STABLE, VerdictKind.DRIFTING, VerdictKind.CRITICAL


class Nowhere:
    """A channel that must not be used: recording sends nothing."""

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        raise AssertionError(f"{message_id} was sent while {alert.id} was being recorded")


def channel(name: str, *, fallback: str | None = None, **match: Any) -> ConfiguredChannel:
    return ConfiguredChannel(
        name=name, channel=Nowhere(), matcher=parse_matcher(match), fallback=fallback
    )


ONCALL = channel("oncall", severity="page")
DESK = channel("desk", severity="ticket")
BOTH = (ONCALL, DESK)


@pytest.fixture
def version(database: Database) -> Version:
    with database.begin() as tx:
        return register(tx)


def record(
    database: Database, version: Version, *kinds: VerdictKind, minutes: int = 1
) -> list[DeliveryRow]:
    """Pass verdicts through, one a minute; return all messages, oldest first."""
    before = STABLE
    for step, kind in enumerate(kinds):
        with database.begin() as tx:
            record_observation(
                tx,
                version,
                verdict=transition(version, kind, before=before).after,
                inputs=inputs(database),
                channels=BOTH,
                now=NOW + timedelta(minutes=minutes * step),
            )
        before = kind
    with database.begin() as tx:
        return deliveries.newest(tx)[::-1]


def inputs(database: Database) -> AlertInputs:
    with database.begin() as tx:
        adapter = adapters.fetch(tx, "support")
    assert adapter is not None
    return AlertInputs(
        adapter=adapter,
        scores=(score_line(detector="logit_ks", winner="mean_nll:up", evidence=1.6),),
        requests=412,
        base_url="https://drift.example/",
    )


def told(rows: list[DeliveryRow]) -> list[tuple[str, object, object]]:
    return [(row.channel, row.alert["status"], row.alert["severity"]) for row in rows]


def test_one_message_when_it_starts_one_when_it_worsens_one_when_it_recovers(
    database: Database, version: Version
) -> None:
    rows = record(database, version, DRIFTING, CRITICAL, STABLE)
    assert told(rows) == [
        ("desk", "started", "ticket"),
        ("oncall", "worsened", "page"),
        ("oncall", "recovered", "page"),
        ("desk", "recovered", "ticket"),
    ]


def test_a_channel_hears_of_an_end_only_if_it_heard_of_the_beginning(
    database: Database, version: Version
) -> None:
    rows = record(database, version, CRITICAL, STABLE)
    assert told(rows) == [("oncall", "started", "page"), ("oncall", "recovered", "page")]


def test_a_verdict_that_stays_says_nothing_twice(database: Database, version: Version) -> None:
    rows = record(database, version, CRITICAL, CRITICAL, DRIFTING)
    assert told(rows) == [("oncall", "started", "page")]


def test_the_incident_row_follows_the_machine(database: Database, version: Version) -> None:
    record(database, version, DRIFTING, CRITICAL)
    with database.begin() as tx:
        (row,) = incidents.incident_list(tx, open_only=True)
    assert (row.number, row.phase, row.severity.value) == (1, "firing", "page")
    record(database, version, STABLE)
    with database.begin() as tx:
        assert incidents.incident_list(tx, open_only=True) == []
        (row,) = incidents.incident_list(tx)
    assert row.phase == "ok"
    assert row.closed_at is not None


def test_what_has_recovered_keeps_what_it_was_blamed_on(
    database: Database, version: Version
) -> None:
    record(database, version, CRITICAL)
    with database.begin() as tx:
        record_observation(
            tx,
            version,
            verdict=verdict(STABLE, blame=Blame.UNKNOWN),  # nothing is at fault any more
            inputs=inputs(database),
            channels=BOTH,
            now=NOW + timedelta(hours=1),
        )
        [row] = incidents.incident_list(tx)
        [end, _] = deliveries.newest(tx)
    assert (row.phase, row.blame) == ("ok", Blame.ADAPTER)
    # an Alertmanager takes what is blamed on something else for another alert
    assert (end.alert["status"], end.alert["blame"]) == ("recovered", "adapter")


def test_a_change_of_rules_closes_an_incident_and_what_comes_then_is_another(
    database: Database, version: Version
) -> None:
    record(database, version, DRIFTING)
    for kind, changed in ((STABLE, True), (DRIFTING, False)):
        with database.begin() as tx:
            record_observation(
                tx,
                version,
                verdict=verdict(kind),
                inputs=replace(inputs(database), rules_changed=changed),
                channels=BOTH,
                now=NOW + timedelta(hours=1),
            )
    with database.begin() as tx:
        rows = deliveries.newest(tx)[::-1]
        numbers = [(row.number, row.closed_at is None) for row in incidents.incident_list(tx)]
    assert [row.alert["status"] for row in rows] == ["started", "recovered", "started"]
    assert rows[1].alert["summary"] == "support@v7: closed by a change of rules after 60 min"
    assert numbers == [(2, True), (1, False)]


def test_a_breach_within_a_week_reopens_the_same_incident(
    database: Database, version: Version
) -> None:
    day = 24 * 60
    rows = record(database, version, CRITICAL, STABLE, CRITICAL, minutes=day)
    assert [row.alert["status"] for row in rows] == ["started", "recovered", "reopened"]
    assert len({row.alert["id"] for row in rows}) == 1
    with database.begin() as tx:
        (row,) = incidents.incident_list(tx)
    assert row.closed_at is None


def test_a_breach_after_more_than_a_week_is_another_incident(
    database: Database, version: Version
) -> None:
    rows = record(database, version, CRITICAL, STABLE, CRITICAL, minutes=8 * 24 * 60)
    assert [row.alert["number"] for row in rows] == [1, 1, 2]
    with database.begin() as tx:
        assert [row.number for row in incidents.incident_list(tx)] == [2, 1]


def test_messages_are_late_when_the_incident_was_over_before_they_were_delivered(
    database: Database, version: Version
) -> None:
    rows = record(database, version, CRITICAL, STABLE)
    assert [row.alert["late"] for row in rows] == [True, True]


def test_nothing_is_late_once_the_first_message_was_delivered(
    database: Database, version: Version
) -> None:
    (first,) = record(database, version, CRITICAL)
    with database.begin() as tx:
        outbox.mark_delivered(tx, first.id)
    rows = record(database, version, STABLE)
    assert [row.alert["late"] for row in rows] == [False, False]


def test_a_message_carries_the_facts_and_the_links(database: Database, version: Version) -> None:
    (row,) = record(database, version, CRITICAL)
    alert = row.alert
    assert alert["summary"].startswith("support@v7: ")
    assert alert["reason"] == "evidence says critical"
    assert alert["requests"] == 412
    assert alert["owner"] == "ann"
    assert alert["links"] == {
        "incident": f"https://drift.example/incidents/{row.incident_id}",
        "dashboard": "https://drift.example/adapters/support",
        "runbook": None,
        "detector_runbook": None,
        "chart": None,
    }


def test_a_transaction_that_fails_leaves_neither_incident_nor_message(
    database: Database, version: Version
) -> None:
    facts = inputs(database)

    def fail_after_recording(tx: Connection) -> None:
        critical = transition(version, CRITICAL).after
        record_observation(tx, version, verdict=critical, inputs=facts, channels=BOTH, now=NOW)
        raise RuntimeError("the evaluation lost its lease")

    with pytest.raises(RuntimeError):
        database.run(fail_after_recording)
    with database.begin() as tx:
        assert deliveries.newest(tx) == []
        assert incidents.incident_list(tx) == []


def test_silence_opens_an_incident_of_its_own_and_never_ends_a_drift(
    database: Database, version: Version
) -> None:
    record(database, version, CRITICAL)
    facts = inputs(database)
    for silence in (Urgency.TICKET, None):
        with database.begin() as tx:
            record_observation(
                tx,
                version,
                verdict=verdict(VerdictKind.INSUFFICIENT),
                inputs=facts,
                channels=BOTH,
                now=NOW,
                silence=silence,
            )
    with database.begin() as tx:
        rows = deliveries.newest(tx)[::-1]
        open_now = incidents.incident_list(tx, open_only=True)
    assert [(row.alert["kind"], row.alert["status"]) for row in rows] == [
        ("drift", "started"),
        ("no_data", "started"),
        ("no_data", "recovered"),
    ]
    assert [row.kind for row in open_now] == ["drift"]


def test_a_version_that_is_not_compared_is_a_ticket_of_its_own_beside_a_page_in_force(
    database: Database, version: Version
) -> None:
    """It begins and ends by what was counted; an evaluation that counts nothing changes nothing."""
    facts = inputs(database)
    record(database, version, CRITICAL)
    blind = replace(facts, unseen=UNSEEN, coverage_known=True)
    for seen in (blind, blind, facts, replace(facts, coverage_known=True)):
        with database.begin() as tx:
            record_observation(
                tx, version, verdict=verdict(CRITICAL), inputs=seen, channels=BOTH, now=NOW
            )
    with database.begin() as tx:
        _, first, last = deliveries.newest(tx)[::-1]
        open_now = incidents.incident_list(tx, open_only=True)
    assert (first.channel, first.alert["severity"]) == ("desk", "ticket")
    assert first.alert["summary"] == f"support@v7: not fully monitored, {CAUSE}"
    assert first.alert["reason"] == (
        "8 of the newest 100 requests could be compared with the reference;"
        f" some not since {clock_time(UNSEEN.since, now=NOW)}"
    )
    assert [(row.alert["kind"], row.alert["status"]) for row in (first, last)] == [
        ("blind", "started"),
        ("blind", "recovered"),
    ]
    assert first.incident_id is not None
    with database.begin() as tx:
        over = read_story(tx, first.incident_id, margin=timedelta(), now=NOW)
    assert over is not None
    assert over.unseen is None
    assert last.alert["summary"] == "support@v7 is healthy again after 0 s"
    assert last.alert["reason"] == "enough of its requests can be compared with the reference"
    assert [row.kind for row in open_now] == ["drift"]


def test_the_page_of_what_is_not_compared_says_what_mends_it(
    database: Database, version: Version
) -> None:
    blind = replace(inputs(database), unseen=UNSEEN, coverage_known=True)
    with database.begin() as tx:
        [told] = record_observation(
            tx, version, verdict=verdict(STABLE), inputs=blind, channels=BOTH, now=NOW
        )
        story = read_story(tx, told, margin=timedelta(), now=NOW)
    assert story is not None
    assert story.unseen == UNSEEN


def test_errors_are_tickets_of_their_own(database: Database, version: Version) -> None:
    rows = record(database, version, VerdictKind.ERROR, STABLE)
    assert [(row.alert["kind"], row.alert["status"]) for row in rows] == [
        ("error", "started"),
        ("error", "recovered"),
    ]


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        pytest.param([channel("a"), channel("a")], "same name", id="two of one name"),
        pytest.param([channel("a", fallback="b")], "does not exist", id="unknown fallback"),
        pytest.param([channel("a", fallback="a")], "ring: a -> a", id="itself"),
        pytest.param(
            [channel("a", fallback="b"), channel("b", fallback="a")],
            "ring: a -> b -> a",
            id="each other",
        ),
    ],
)
def test_fallbacks_that_cannot_work_are_refused(
    channels: list[ConfiguredChannel], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        check_fallbacks(channels)


def test_a_fleet_incident_is_told_to_whoever_would_have_heard_of_a_member(
    database: Database,
) -> None:
    wanting = [
        channel("of v7", version="v7"),
        channel("of billing", adapter="billing"),
        channel("of v6", version="v6"),
        channel("of legal", adapter="legal"),
    ]
    with database.begin() as tx:
        for name in ("billing", "support"):
            version = register(tx, name)
            adapter = adapters.fetch(tx, name)
            assert adapter is not None
            record_observation(
                tx,
                version,
                verdict=verdict(DRIFTING, blame=Blame.BASE),
                inputs=AlertInputs(adapter=adapter),
                channels=wanting,
                now=NOW,
            )
        rows = deliveries.newest(tx)
    assert sorted(row.channel for row in rows) == ["of billing", "of v7"]


@pytest.mark.parametrize(
    ("why", "opening"),
    [
        (Closing.ACCEPTED, "support@v7: accepted as normal after "),
        (Closing.FALSE_PAGE, "support@v7: closed as a false alarm after "),
    ],
)
def test_a_person_ends_an_incident_and_whoever_heard_of_it_hears_so(
    database: Database, version: Version, why: Closing, opening: str
) -> None:
    record(database, version, DRIFTING)
    said = replace(verdict(DRIFTING), reason="kim: the spring campaign")
    with database.begin() as tx:
        close = partial(
            record_closing, tx, version, kind=Kind.DRIFT, why=why, verdict=said,
            inputs=inputs(database), channels=("oncall", "desk"), now=NOW + timedelta(hours=1),
        )  # fmt: skip
        ended = close()
        assert close() is None
    assert ended is not None
    rows = record(database, version, CRITICAL, minutes=90)
    assert [(row.channel, row.alert["number"]) for row in rows] == [
        ("desk", 1),
        ("desk", 1),
        ("oncall", 2),
    ]
    assert str(rows[1].alert["summary"]).startswith(opening)
    assert rows[1].alert["reason"] == "kim: the spring campaign"
