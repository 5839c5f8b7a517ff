"""What is known otherwise of an open incident reaches whoever was told of it, once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from alerts.brief import brief
from alerts.delivery import Delivered
from alerts.formats import labels_of
from alerts.matching import parse_matcher
from alerts.message import Alert, ScoreLine
from alerts.message import from_json as alert_from_json
from alerts.telling import Manner
from alerts.types import Blame, Reason, Severity, Status, VerdictKind
from monitor.domain import IncidentId, Version
from monitor.incident.reading import read_story
from monitor.outbox.acknowledging import acknowledge
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.marking import Hearers
from monitor.outbox.record import record_observation, update_due
from monitor.outbox.telling import tell_each
from monitor.policy.common_cause import BaseStanding
from monitor.store.database import Database
from monitor.store.incidents import deliveries, incidents, pages, silences
from monitor.store.registry import adapters
from monitor.store.traffic import actions
from monitor.store.traffic.actions import ActionKind, ActionState
from tests.alert_samples import score_line
from tests.fleet import register, verdict

STABLE, DRIFTING, CRITICAL = VerdictKind.STABLE, VerdictKind.DRIFTING, VerdictKind.CRITICAL
START = datetime.now(tz=UTC).replace(microsecond=0)
WINDOW = timedelta(minutes=15)
SLOW = score_line(detector="latency", winner="latency_ms:up", evidence=1.2, process="notice")
ASKED = score_line(
    detector="input_similarity", winner="similarity:low", evidence=7.0, process="notice"
)


class Nowhere:
    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        raise AssertionError(f"{message_id} was sent while {alert.id} was being recorded")


def channel(name: str, *, manner: Manner | None = None, **match: Any) -> ConfiguredChannel:
    return ConfiguredChannel(
        name=name, channel=Nowhere(), matcher=parse_matcher(match), manner=manner or Manner()
    )


ALL = channel("all")
PAGER = channel("pager", manner=Manner(acknowledges=True))


class Watched:
    """One version, evaluated a window apart."""

    def __init__(self, database: Database, channels: Sequence[ConfiguredChannel] = (ALL,)) -> None:
        self.database = database
        self.channels = channels
        with database.begin() as tx:
            self.version = register(tx)
        self.at = START

    def find(
        self,
        kind: VerdictKind,
        blame: Blame = Blame.SERVING,
        *scores: ScoreLine,
        version: Version | None = None,
        standing: BaseStanding | None = None,
        detectors: tuple[str, ...] = (),
        wait: timedelta = WINDOW,
    ) -> None:
        version = version or self.version
        with self.database.begin() as tx:
            adapter = adapters.fetch(tx, version.adapter)
            assert adapter is not None
            record_observation(
                tx,
                version,
                verdict=replace(verdict(kind, blame=blame), detectors=detectors),
                inputs=AlertInputs(
                    adapter=adapter, scores=scores, standing=standing or BaseStanding()
                ),
                channels=self.channels,
                now=self.at,
            )
        self.at += wait

    def told(self, name: str = "all") -> list[Alert]:
        with self.database.begin() as tx:
            rows = deliveries.newest(tx)[::-1]
        return [alert_from_json(row.alert) for row in rows if row.channel == name]

    def statuses(self, name: str = "all") -> list[Status]:
        return [alert.status for alert in self.told(name)]

    def open_one(self) -> IncidentId:
        with self.database.begin() as tx:
            found = incidents.open_one(tx, self.version, kind="drift")
        assert found is not None
        return found

    def silence(self, match: Mapping[str, object], *, lasts: timedelta) -> None:
        with self.database.begin() as tx:
            silences.add(
                tx,
                parse_matcher(match),
                starts_at=self.at,
                ends_at=self.at + lasts,
                author="ann",
                comment="the load test",
            )

    def take_in_hand(self, asked: Collection[str] = ("pager",)) -> None:
        with self.database.begin() as tx:
            acknowledge(
                tx,
                self.open_one(),
                by="ann",
                lasts=timedelta(hours=24),
                now=self.at,
                hearers=Hearers(acknowledging=asked),
            )

    def in_hand(self) -> str | None:
        with self.database.begin() as tx:
            row = incidents.incident(tx, self.open_one())
        assert row is not None
        return row.acknowledged_by


@pytest.fixture
def watched(database: Database) -> Watched:
    return Watched(database)


def test_slower_answers_that_turn_out_to_be_other_questions_are_told_so_once(
    watched: Watched,
) -> None:
    watched.find(DRIFTING, Blame.SERVING, SLOW, wait=timedelta(minutes=1))
    appeared = watched.at
    for _ in range(8):
        watched.find(DRIFTING, Blame.INPUT, SLOW, ASKED)
    first, update = watched.told()
    assert (update.id, update.status) == (first.id, Status.UPDATED)
    assert update.at - appeared <= 2 * WINDOW
    assert update.notification_reason is Reason.UPDATED
    assert (update.blame, update.known_as) == (Blame.INPUT, Blame.SERVING)
    assert labels_of(update) == labels_of(first)
    assert update.summary.startswith("support@v7: requests unlike the training examples")
    assert update.cause == "input (likely)"
    assert update.update is not None
    assert update.update.text == (
        "likely cause was: serving, now: input; strongest sign was: answers slower,"
        " now: requests unlike the training examples"
    )


def test_lists_and_the_page_say_what_was_told_last_and_the_timeline_what_had_changed(
    watched: Watched,
) -> None:
    watched.find(DRIFTING, Blame.SERVING, SLOW)
    for _ in range(2):
        watched.find(DRIFTING, Blame.INPUT, ASKED)
    with watched.database.begin() as tx:
        story = read_story(tx, watched.open_one(), margin=WINDOW, now=watched.at)
        [row] = incidents.incident_list(tx)
    assert story is not None
    assert (row.blame, row.summary) == (Blame.INPUT, watched.told()[-1].summary)
    moments = [moment.text for moment in story.timeline]
    update = (
        "not delivered to all yet: ticket update: likely cause was: serving, now: input; strongest"
        " sign was: answers slower, now: requests unlike the training examples"
    )
    assert moments == ["not delivered to all yet: ticket", update]


def test_a_blame_that_comes_and_goes_is_not_told(watched: Watched) -> None:
    for blame in [Blame.SERVING, Blame.INPUT] * 10:
        watched.find(DRIFTING, blame, SLOW)
    assert watched.statuses() == [Status.STARTED]


def test_a_ticket_that_pages_is_told_at_once_with_all_that_is_known_and_not_again(
    watched: Watched,
) -> None:
    watched.find(DRIFTING, Blame.SERVING, SLOW)
    for _ in range(4):
        watched.find(CRITICAL, Blame.ADAPTER, SLOW)
    assert watched.statuses() == [Status.STARTED, Status.WORSENED]
    worse = watched.told()[-1]
    assert worse.update is not None
    assert (
        worse.update.text
        == "severity was: ticket, now: page; likely cause was: serving, now: adapter"
    )


def test_an_update_of_a_page_is_no_other_page_in_the_receipt(watched: Watched) -> None:
    watched.find(CRITICAL, Blame.UNKNOWN, SLOW)
    for _ in range(3):
        watched.find(CRITICAL, Blame.ADAPTER, SLOW)
    assert watched.statuses() == [Status.STARTED, Status.UPDATED]
    with watched.database.begin() as tx:
        day = timedelta(days=1)
        assert len(pages.sent(tx, start=START - day, end=START + day)) == 1


def test_whoever_has_it_in_hand_hears_it_and_keeps_it(database: Database) -> None:
    watched = Watched(database, channels=(PAGER,))
    watched.find(DRIFTING, Blame.SERVING, SLOW)
    watched.take_in_hand()
    for _ in range(3):
        watched.find(DRIFTING, Blame.INPUT, ASKED)
    assert watched.in_hand() == "ann"
    # the receiver's own alert stays acknowledged: it is told so again behind what was added
    assert watched.statuses("pager") == [
        Status.STARTED,
        Status.ACKNOWLEDGED,
        Status.UPDATED,
        Status.ACKNOWLEDGED,
    ]
    assert watched.told("pager")[2].notification_reason is Reason.UPDATED


def test_another_detectors_find_leaves_it_in_nobodys_hands_and_calls_people_again(
    database: Database,
) -> None:
    watched = Watched(database, channels=(PAGER,))
    watched.find(DRIFTING, Blame.SERVING, SLOW, detectors=("latency",))
    watched.take_in_hand()
    for _ in range(3):
        watched.find(DRIFTING, Blame.INPUT, SLOW, ASKED, detectors=("latency", "input_similarity"))
    assert watched.in_hand() is None
    assert watched.statuses("pager")[-1] is Status.UPDATED
    assert watched.told("pager")[-1].notification_reason is Reason.LET_GO


def test_a_silence_keeps_updates_back_and_then_what_is_known_is_told(watched: Watched) -> None:
    watched.find(DRIFTING, Blame.SERVING, SLOW)
    watched.silence({"adapter": "support"}, lasts=8 * WINDOW)
    for blame in (Blame.INPUT, Blame.ADAPTER):
        for _ in range(3):
            watched.find(DRIFTING, blame, SLOW)
    assert watched.statuses() == [Status.STARTED]
    watched.at += 4 * WINDOW
    with watched.database.begin() as tx:
        tell_each(tx, {"all": Manner()}, now=watched.at)
    [_, update] = watched.told()
    assert update.update is not None
    assert update.update.text == "likely cause was: serving, now: adapter"


def test_what_recovers_before_it_has_held_is_never_told(watched: Watched) -> None:
    watched.find(DRIFTING, Blame.SERVING, SLOW)
    watched.find(DRIFTING, Blame.INPUT, SLOW)
    watched.find(STABLE)
    assert watched.statuses() == [Status.STARTED, Status.RECOVERED]


def test_whoever_hears_of_a_blame_hears_what_has_become_of_it_and_so_does_who_hears_of_the_other(
    database: Database,
) -> None:
    channels = (
        channel("platform", blame="serving"),
        channel("product", blame="input"),
        channel("engines", blame="base"),
    )
    watched = Watched(database, channels=channels)
    watched.find(DRIFTING, Blame.SERVING, SLOW)
    for blame in (Blame.INPUT, Blame.ADAPTER):
        for _ in range(2):
            watched.find(DRIFTING, blame, SLOW)
    watched.find(STABLE)
    assert watched.statuses("engines") == []
    assert watched.statuses("platform") == [
        Status.STARTED, Status.UPDATED, Status.UPDATED, Status.RECOVERED,
    ]  # fmt: skip
    assert watched.statuses("product") == [Status.STARTED, Status.UPDATED, Status.RECOVERED]


def test_an_evaluation_can_ask_beforehand_whether_it_will_tell(watched: Watched) -> None:
    watched.find(DRIFTING, Blame.SERVING, SLOW)
    answers = []
    for _ in range(4):
        with watched.database.begin() as tx:
            known = verdict(DRIFTING, blame=Blame.INPUT)
            answers.append(
                update_due(tx, watched.version, verdict=known, scores=(SLOW,), now=watched.at)
            )
        watched.find(DRIFTING, Blame.INPUT, SLOW)
    assert answers == [False, True, False, False]
    assert len(watched.told()) == 2


# --- adapters that moved together ---------------------------------------------------------

MOVED = score_line(detector="perplexity", winner="perplexity:ratio", evidence=2.0, value=0.02)


def together(watched: Watched) -> tuple[Version, BaseStanding]:
    with watched.database.begin() as tx:
        other = register(tx, "billing")
    return other, BaseStanding(adapters=2)


def test_a_fleet_incident_is_told_anew_by_the_member_with_the_strongest_evidence(
    database: Database,
) -> None:
    watched = Watched(database)
    other, standing = together(watched)
    slower = replace(SLOW, evidence=5.0)
    for turn in range(6):
        watched.find(DRIFTING, Blame.BASE, MOVED, standing=standing, wait=WINDOW / 2)
        found = slower if turn else replace(SLOW, evidence=1.0)
        watched.find(DRIFTING, Blame.BASE, found, version=other, standing=standing, wait=WINDOW / 2)
    first, update = watched.told()
    assert (update.id, update.status, update.together is not None) == (
        first.id,
        Status.UPDATED,
        True,
    )
    assert update.update is not None
    assert update.update.text == (
        "strongest sign was: it reads fixed texts differently, now: answers slower"
    )
    assert (update.severity, update.blame) == (Severity.TICKET, Blame.BASE)


def test_members_that_are_evaluated_in_turn_are_told_of_by_one_of_them(database: Database) -> None:
    watched = Watched(database)
    other, standing = together(watched)
    for _ in range(10):
        watched.find(DRIFTING, Blame.BASE, MOVED, standing=standing, wait=WINDOW / 2)
        watched.find(DRIFTING, Blame.BASE, SLOW, version=other, standing=standing, wait=WINDOW / 2)
    assert watched.statuses() == [Status.STARTED]


def test_the_end_of_the_member_that_spoke_lets_another_one_speak(database: Database) -> None:
    watched = Watched(database)
    other, standing = together(watched)
    watched.find(DRIFTING, Blame.BASE, MOVED, standing=standing)
    watched.find(DRIFTING, Blame.BASE, SLOW, version=other, standing=standing)
    watched.find(STABLE)
    for _ in range(2):
        watched.find(DRIFTING, Blame.BASE, SLOW, version=other, standing=standing)
    assert watched.statuses() == [Status.STARTED, Status.UPDATED]
    watched.find(STABLE, version=other)
    assert watched.statuses()[-1] is Status.RECOVERED


def test_what_is_done_with_traffic_is_told_at_once_and_once(watched: Watched) -> None:
    paged = partial(watched.find, CRITICAL, Blame.ADAPTER, SLOW, wait=timedelta(minutes=1))
    paged()
    assert watched.statuses() == [Status.STARTED]
    with watched.database.begin() as tx:
        moved = actions.add(
            tx,
            watched.version,
            kind=ActionKind.FALLBACK,
            state=ActionState.EXECUTING,
            reason="v7 is critical",
            evidence={},
            expected_generation=1,
            target={"version": "v6"},
            actor="driftline",
            now=watched.at,
        )
    paged()
    with watched.database.begin() as tx:
        actions.change(
            tx, moved.id, state=ActionState.VERIFIED, reason="read back", decided_at=watched.at
        )
    for _ in range(20):
        paged()
    _, moving, confirmed = watched.told()
    for update, said in (
        (moving, "moving 100 % of traffic to v6"),
        (confirmed, "moved 100 % of traffic to v6, confirmed by the router"),
    ):
        assert update.update is not None
        assert update.update.action is not None
        assert update.update.action.now == said
        assert said.lower() in brief(update).done.lower()
    assert brief(confirmed).title.endswith("; traffic moved to v6")


def test_a_brake_whose_reason_changes_by_itself_is_told_once(watched: Watched) -> None:
    for unseen in range(40):
        watched.find(CRITICAL, Blame.ADAPTER, SLOW, wait=timedelta(minutes=1))
        with watched.database.begin() as tx:
            actions.add(
                tx,
                watched.version,
                kind=ActionKind.FALLBACK,
                state=ActionState.BLOCKED,
                reason=f"{unseen} of 20 adapters have not been evaluated",
                evidence={},
                expected_generation=1,
                target=None,
                actor="driftline",
                now=watched.at,
            )
    _, update = watched.told()
    assert update.update is not None
    assert brief(update).done.startswith("v7 keeps its traffic: ")
