"""What a canary does to people, by simulated looks: tickets that do not flap, and few pages."""

import itertools
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.brief import brief
from alerts.delivery import Delivered
from alerts.incident import Condition, IncidentState, Observed
from alerts.incident import step as tell
from alerts.message import Alert, from_json
from alerts.types import Severity, Status
from monitor.daemon.canaries import CanaryMessages
from monitor.domain import Mode, VerdictSeverity
from monitor.outbox.channels import ConfiguredChannel
from monitor.store.incidents import deliveries
from monitor.traffic.trial.machine import step
from monitor.traffic.trial.news import canary_news
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    Event,
    Found,
    Looked,
    LookOutcome,
    Ordered,
    OrderKind,
    Pause,
    Phase,
    PrechecksLooked,
    ReadBack,
)
from monitor.traffic.trial.urgency import urgency
from tests.traffic.trial.conftest import MINUTE, NOW, Trial

SETTINGS = CanarySettings(interval=timedelta(seconds=5), blind_max=timedelta(hours=1))
PLAN = SETTINGS.plan()
SEEN = Looked(
    found=Found(
        outcome=LookOutcome.UNSURE, trial_requests=78, control_requests=900, reason="numbers"
    )
)
BLIND = Looked(found=None, trouble="no records of either arm")


def told(looks: Sequence[Event]) -> list[tuple[timedelta, Status, Severity]]:
    """Look every five seconds, and give what people are told, and how long after the start."""
    state, _ = step(CanaryState(), PrechecksLooked(passed=True, reason="ok"), plan=PLAN, now=NOW)
    state, _ = step(state, ReadBack(problem=None), plan=PLAN, now=NOW)
    incident = IncidentState()
    messages: list[tuple[timedelta, Status, Severity]] = []
    for number, look in enumerate(looks, start=1):
        now = NOW + number * SETTINGS.interval
        state, _ = step(state, look, plan=PLAN, now=now)
        found = urgency(state, now=now, settles=SETTINGS.settles)
        if found is None:
            continue
        condition = Condition.CLEAR if found is VerdictSeverity.NONE else Condition(found.value)
        incident, tells = tell(incident, Observed(condition=condition), now)
        messages += [(now - NOW, one.status, one.severity) for one in tells]
    return messages


def test_a_canary_that_is_blind_now_and_then_is_one_ticket_until_it_was_seen_for_a_while() -> None:
    now_and_then = ([BLIND] * 5 + [SEEN]) * 30  # five minutes of half minutes
    messages = told([*now_and_then, *[SEEN] * 12 * 20])
    (start, begun, how), (end, over, _) = messages
    assert (begun, how, over) == (Status.STARTED, Severity.TICKET, Status.RECOVERED)
    assert start == timedelta(seconds=25)
    assert end - timedelta(minutes=15) == timedelta(seconds=5 * 30 * 6)


def test_whoever_resumes_a_canary_need_not_wait_to_hear_that_it_goes_on() -> None:
    resumed = Ordered(order=OrderKind.RESUME, by="ann")
    messages = told([*[BLIND] * 5, resumed])
    assert [status for _, status, _ in messages] == [Status.STARTED, Status.RECOVERED]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([SEEN, BLIND]), max_size=300))
def test_whatever_it_sees_nobody_is_woken_nor_told_twice_within_the_time_that_settles(
    looks: list[Looked],
) -> None:
    messages = told(looks)
    assert {severity for *_, severity in messages} <= {Severity.TICKET}
    begun = [at for at, status, _ in messages if status is not Status.RECOVERED]
    assert all(b - a > SETTINGS.settles for a, b in itertools.pairwise(begun))


@pytest.mark.parametrize("pause", list(Pause))
def test_every_pause_is_told_in_words_and_only_what_is_proven_worse_pages(pause: Pause) -> None:
    state = CanaryState(phase=Phase.PAUSED, pause=pause, weight=0.05, placed=True, reason="numbers")
    news = canary_news(state, trial="v8", control="v7")
    assert ":" not in news.headline
    assert len(f"[TICKET] support@v8: {news.headline}") <= 80
    assert news.action.text.startswith("5 % of the requests still go to v8")
    expected = VerdictSeverity.NONE if pause is Pause.MANUAL else VerdictSeverity.TICKET
    assert urgency(state, now=NOW, settles=SETTINGS.settles) is expected


class Nowhere:
    """A channel that must not be used: what is told waits in the outbox."""

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        raise AssertionError(f"{message_id} was sent while {alert.id} was being recorded")


MESSAGES = CanaryMessages(channels=[ConfiguredChannel(name="all", channel=Nowhere())])


def titles(trial: Trial) -> list[str]:
    with trial.database.begin() as tx:
        rows = deliveries.newest(tx)[::-1]
    return [brief(from_json(row.alert)).title for row in rows]


def test_people_read_once_that_a_canary_is_blind_and_again_when_it_was_taken_back(
    trial: Trial,
) -> None:
    trial.tell = MESSAGES
    canary = trial.start()
    trial.pass_by(0.5, every=30 * MINUTE, per_hour=2000)
    trial.pass_by(0.6)
    assert trial.state(canary).pause is Pause.BLIND
    blind = "[TICKET] support@v8: canary paused at 5 %, its answers cannot be measured"
    assert titles(trial) == [blind]
    trial.pass_by(5 / 60, per_hour=3000)
    assert trial.state(canary).phase is Phase.RUNNING
    trial.pass_by(0.5)
    assert trial.state(canary).pause is Pause.BLIND
    assert titles(trial) == [blind]
    trial.pass_by(0.7)
    assert trial.state(canary).phase is Phase.ROLLED_BACK
    assert titles(trial) == [blind, "[TICKET update] support@v8: canary rolled back"]


def test_the_page_about_a_worse_canary_ends_when_it_is_out_and_leaves_a_ticket(
    trial: Trial,
) -> None:
    trial.tell, trial.mode = MESSAGES, Mode.OBSERVE
    canary = trial.start()
    trial.pass_by(1, every=10 * MINUTE, per_hour=3000, worse=0.3)
    paged = "[PAGE] support@v8: canary answers worse, but is not rolled back"
    assert titles(trial) == [paged]
    trial.mode = Mode.AUTO
    trial.pass_by(1 / 6, every=10 * MINUTE, per_hour=3000, worse=0.3)
    assert trial.state(canary).phase is Phase.ROLLED_BACK
    over, ticket = titles(trial)[1:]
    assert over.startswith("[RESOLVED] support@v8: canary over")
    assert ticket == "[TICKET again] support@v8: canary rolled back, answers worse than v7"
