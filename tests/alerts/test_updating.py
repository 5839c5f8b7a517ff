"""What is known otherwise of an open incident is told once, after it has held for a window."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.updating import TELLING, Fact, Known, UpdateReason, begun, decide, said, seen

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)


def follow(
    *blames: str, every: timedelta = WINDOW, fact: Fact = Fact.BLAME
) -> list[tuple[int, UpdateReason, str]]:
    """Find these one after the other; give the turns at which people are told, why, and what."""
    known = begun({fact: blames[0]}, NOON)
    told = []
    for turn, blame in enumerate(blames[1:], start=1):
        at = NOON + turn * every
        known = seen(known, {fact: blame}, at)
        why = decide(known, now=at, window=WINDOW)
        if why in TELLING:
            told.append((turn, why, blame))
            known = said(known)
    return told


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ((), UpdateReason.NOTHING_NEW),
        (
            (Known(fact=Fact.BLAME, now="input", since=NOON, told=("input",)),),
            UpdateReason.NOTHING_NEW,
        ),
        (
            (
                Known(
                    fact=Fact.BLAME,
                    now="input",
                    since=NOON - WINDOW + MINUTE,
                    told=("serving",),
                ),
            ),
            UpdateReason.NOT_HELD,
        ),
        (
            (Known(fact=Fact.BLAME, now="input", since=NOON - WINDOW, told=("serving",)),),
            UpdateReason.HELD,
        ),
        (
            (Known(fact=Fact.SEVERITY, now="page", since=NOON, told=("ticket",)),),
            UpdateReason.RISEN,
        ),
        (
            (Known(fact=Fact.SEVERITY, now="ticket", since=NOON, told=("page",)),),
            UpdateReason.NOT_HELD,
        ),
        (
            (  # one fact that has held is told, whatever another one does
                Known(fact=Fact.BLAME, now="input", since=NOON - WINDOW, told=("serving",)),
                Known(fact=Fact.FINDING, now="answers longer", since=NOON, told=("slower",)),
            ),
            UpdateReason.HELD,
        ),
    ],
)
def test_an_update_is_told_or_not_for_one_of_four_reasons(
    known: tuple[Known, ...], why: UpdateReason
) -> None:
    assert decide(known, now=NOON, window=WINDOW) is why


def test_a_change_is_told_once_at_the_first_look_a_window_after_it_appeared() -> None:
    assert follow("serving", "input", "input", "input", "input") == [
        (2, UpdateReason.HELD, "input")
    ]
    minutes = ["serving", *["input"] * 40]
    assert follow(*minutes, every=MINUTE) == [(16, UpdateReason.HELD, "input")]


def test_what_does_not_hold_is_not_told() -> None:
    assert follow("serving", "input", "serving", "input", "serving") == []
    assert follow("serving", "input", "adapter", "base", "serving") == []


def test_what_is_not_known_any_more_is_no_news_and_breaks_what_held() -> None:
    assert follow("serving", "", "", "") == []
    assert follow("serving", "input", "", "input", "serving") == []
    assert follow("", "adapter", "adapter") == [
        (2, UpdateReason.HELD, "adapter")
    ]  # it was told as unknown


def test_each_new_value_takes_one_window_and_each_return_twice_the_last() -> None:
    back_and_forth = ["a", *["b"] * 2, *["a"] * 2, *["b"] * 3, *["a"] * 5, *["b"] * 9, "c", "c"]
    assert follow(*back_and_forth) == [
        (2, UpdateReason.HELD, "b"),
        (4, UpdateReason.HELD, "a"),
        (7, UpdateReason.HELD, "b"),
        (12, UpdateReason.HELD, "a"),
        (21, UpdateReason.HELD, "b"),
        (23, UpdateReason.HELD, "c"),
    ]


def test_the_first_cause_that_is_confirmed_is_told_at_once() -> None:
    known = seen(begun({Fact.BLAME: ""}, NOON), {Fact.BLAME: "adapter"}, NOON + MINUTE)
    now = NOON + MINUTE
    assert decide(known, now=now, window=WINDOW) is UpdateReason.NOT_HELD
    assert decide(known, now=now, window=WINDOW, confirmed=True) is UpdateReason.FOUND
    other = seen(said(known), {Fact.BLAME: "base"}, now)
    why = decide(other, now=now, window=WINDOW, confirmed=True)
    assert why is UpdateReason.NOT_HELD, "a cause was told before"


def test_a_page_that_became_a_ticket_and_pages_again_is_told_of_at_once() -> None:
    assert follow("page", "ticket", "ticket", "page", "page", fact=Fact.SEVERITY) == [
        (2, UpdateReason.HELD, "ticket"),
        (3, UpdateReason.RISEN, "page"),
    ]


def test_a_fact_that_becomes_known_later_begins_as_what_was_told() -> None:
    """An incident that an earlier release opened: nobody knows what people were told."""
    known = seen((), {Fact.BLAME: "input"}, NOON)
    assert known == begun({Fact.BLAME: "input"}, NOON)
    assert decide(known, now=NOON + WINDOW, window=WINDOW) is UpdateReason.NOTHING_NEW


def test_a_clock_that_is_put_back_holds_nothing_up_for_longer_than_a_window() -> None:
    known = seen(begun({Fact.BLAME: "serving"}, NOON), {Fact.BLAME: "input"}, NOON)
    earlier = NOON - timedelta(hours=5)
    known = seen(known, {Fact.BLAME: "input"}, earlier)
    assert decide(known, now=earlier + WINDOW, window=WINDOW) is UpdateReason.HELD


BLAMES = ["serving", "input", "adapter"]


@given(
    runs=st.lists(
        st.tuples(st.sampled_from(["", *BLAMES]), st.integers(1, 40)), min_size=1, max_size=60
    ),
    part=st.sampled_from([1, 3, 15]),
)
def test_back_and_forth_is_bounded_and_no_two_updates_say_the_same(
    runs: list[tuple[str, int]], part: int
) -> None:
    """In w windows at most n - 1 + log2(w + 1) updates of a fact with n values."""
    blames = ["serving", *(blame for blame, times in runs for _ in range(times))]
    told = follow(*blames, every=WINDOW / part)
    windows = len(blames) / part
    assert len(told) <= len(BLAMES) - 1 + log2(windows + 1)
    heard = ["serving", *(blame for _, _, blame in told)]
    assert all(before != after for before, after in pairwise(heard))
    assert "" not in heard


@given(severities=st.lists(st.sampled_from(["ticket", "page"]), max_size=300))
def test_a_severity_that_flaps_every_window_is_bounded_too(severities: list[str]) -> None:
    """Each rise that is told follows a fall that was told, and those are bounded as all else."""
    told = follow("page", *severities, fact=Fact.SEVERITY)
    assert len(told) <= 2 * (1 + log2(len(severities) + 2)) + 1


def test_the_worst_that_two_values_can_do_in_a_day_is_seven_updates() -> None:
    """96 windows: each value holds just as long as it takes to be told."""
    blames, value = ["serving"], "input"
    told = 0
    while len(blames) <= 96:
        blames.append(value)
        if len(follow(*blames)) > told:
            told += 1
            value = "serving" if value == "input" else "input"
    assert told == 7
