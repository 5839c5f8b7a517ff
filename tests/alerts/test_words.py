from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.message import NewRequests
from alerts.words import clock_time, duration, new_words
from tests.alert_samples import NOON


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
