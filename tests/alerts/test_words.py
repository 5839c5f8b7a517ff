from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.message import NewRequests, Onset, ScoreLine
from alerts.types import Kind, Severity, Status
from alerts.words import (
    clock_time,
    duration,
    new_words,
    not_monitored,
    summarise,
)
from tests.alert_samples import NOON, UNSEEN, score_line

ONSET = Onset(earliest=NOON - timedelta(minutes=70), latest=NOON - timedelta(minutes=30))
LEAD = score_line(detector="logit_ks", winner="mean_nll:up", evidence=1.63)


def line(  # noqa: PLR0917 - a table's row
    kind: Kind = Kind.DRIFT,
    status: Status = Status.STARTED,
    severity: Severity = Severity.PAGE,
    lead: ScoreLine | None = LEAD,
    onset: Onset | None = ONSET,
    cause: str = "adapter",
) -> str:
    return summarise(
        "support@v7",
        kind=kind,
        status=status,
        severity=severity,
        now=NOON,
        lead=lead,
        onset=onset,
        cause=cause,
    )


TAIL = "likely cause: adapter"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status.STARTED, f"support@v7: answers less certain since 11:10 UTC (± 20 min); {TAIL}"),
        (
            Status.WORSENED,
            f"support@v7: now a page: answers less certain since 11:10 UTC (± 20 min); {TAIL}",
        ),
        (
            Status.REOPENED,
            f"support@v7: again: answers less certain since 11:10 UTC (± 20 min); {TAIL}",
        ),
        (
            Status.RECOVERED,
            f"support@v7: recovered; was: answers less certain from 11:10 UTC (± 20 min); {TAIL}",
        ),
    ],
)
def test_says_what_happened_since_when_and_where(status: Status, said: str) -> None:
    assert line(status=status) == said


def test_says_no_more_than_is_known() -> None:
    assert line(lead=None, onset=None, cause="") == "support@v7: drifting"
    assert line(onset=None, cause="", lead=score_line("repetition")) == (
        "support@v7: answers repeat themselves"
    )


def test_silence_and_errors_carry_no_scores_of_another_matter() -> None:
    at = Onset(earliest=NOON, latest=NOON)
    assert line(kind=Kind.NO_DATA, onset=at) == (
        "support@v7: no records where some were expected since 12:00 UTC"
    )
    assert line(kind=Kind.ERROR, onset=None, status=Status.RECOVERED) == (
        "support@v7: recovered; was: evaluations fail, so its state is unknown"
    )


def test_each_kind_has_news_of_its_own() -> None:
    said = {line(kind=kind, lead=None, onset=None, cause="") for kind in Kind}
    assert len(said) == len(Kind)


def test_a_version_that_is_not_compared_is_told_by_the_cause_and_its_end_by_what_it_was() -> None:
    def said(status: Status) -> str:
        return summarise(
            "support@v7",
            kind=Kind.BLIND,
            status=status,
            severity=Severity.TICKET,
            now=NOON,
            reason=not_monitored(UNSEEN),
        )

    assert said(Status.STARTED) == (
        "support@v7: not fully monitored: 92 % of requests use temperature 0.7,"
        " the reference has 0.2"
    )
    assert said(Status.REOPENED).startswith("support@v7: again: not fully monitored: 92 %")
    assert said(Status.RECOVERED) == "support@v7: recovered; was: not fully monitored"


def test_endless_evidence_is_not_said() -> None:
    endless = score_line(detector="empty", winner="empty:up", evidence=float("inf"))
    assert "evidence" not in line(lead=endless)


def test_a_ticket_about_the_mix_of_topics_says_nothing_of_training() -> None:
    said = line(lead=score_line(detector="input_similarity", winner="topic_3:up", evidence=0.4))
    assert said.startswith("support@v7: the mix of topics changed since 11:10 UTC")
    assert "training" not in said


def test_a_group_of_new_requests_is_counted_and_named_only_with_consent() -> None:
    new = NewRequests(count=1_200, of=4_000, subjects=1)
    assert new_words(new) == ("1,200 of 4,000 recent requests are on one new topic, from 1 user")
    named = replace(new, subjects=9, words=("refund", "gift card"))
    assert new_words(named).endswith("on one new topic (refund, gift card), from 9 users")


def test_times_of_another_day_carry_their_date() -> None:
    assert clock_time(NOON - timedelta(days=1), now=NOON) == "2026-03-03 12:00 UTC"


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=20), "20 min"),
        (timedelta(hours=5), "5 h"),
        (timedelta(days=3), "3 days"),
    ],
)
def test_durations_are_said_in_the_unit_that_fits(span: timedelta, said: str) -> None:
    assert duration(span) == said


def test_a_canary_is_told_of_by_how_it_stands_and_its_end_by_what_it_was() -> None:
    def said(status: Status) -> str:
        return summarise(
            "support@v8",
            kind=Kind.CANARY,
            status=status,
            severity=Severity.PAGE,
            now=NOON,
            reason="canary 3 paused: blind",
        )

    assert said(Status.STARTED) == "support@v8: canary 3 paused: blind"
    assert said(Status.WORSENED) == "support@v8: now a page: canary 3 paused: blind"
    over = "support@v8: recovered; was: its canary was rolled back, or waits for a person"
    assert said(Status.RECOVERED) == over
