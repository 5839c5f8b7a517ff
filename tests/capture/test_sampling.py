"""What is kept of a day: all of a small one, and of a large one an even share."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.capture.keeping import keep
from monitor.capture.sampling import STEPS, share_of
from monitor.store.records.capture_counts import Days


def test_about_the_wanted_share_is_kept() -> None:
    kept = sum(keep("support", f"r{n}", 0.3) for n in range(10_000))
    # binomial(10,000, .3): 3,000 with standard deviation 46; five of them
    assert abs(kept - 3_000) < 230


@given(st.text(), st.floats(min_value=1e-6, max_value=1))
def test_what_is_kept_at_a_rate_is_kept_at_every_larger_one(name: str, rate: float) -> None:
    if keep("support", name, rate):
        assert keep("support", name, min(1.0, rate * 2))


def test_adapters_and_stages_decide_independently() -> None:
    ids = [f"r{n}" for n in range(10_000)]
    first = [keep("support", one, 0.5, stage="gateway") for one in ids]
    for second in (
        [keep("support", one, 0.5) for one in ids],
        [keep("travel", one, 0.5, stage="gateway") for one in ids],
    ):
        both = sum(a and b for a, b in zip(first, second, strict=True))
        # binomial(10,000, .25): 2,500 with standard deviation 43; five of them
        assert abs(both - 2_500) < 217


def test_everything_is_kept_at_one() -> None:
    assert all(keep("support", f"r{n}", 1.0) for n in range(100))


TARGET = 400
STEP = TARGET // STEPS
"""Requests kept after which the share is looked at again."""


@dataclass
class Kept:
    """What was kept of a day; a tenth of a target may be kept before the share is looked at."""

    share: list[float] = field(default_factory=list)
    """Of each request kept: its probability."""
    hour: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    last: float = 1.0

    def estimated(self, hour: int) -> tuple[float, float]:
        """Requests of an hour as weights tell, and the standard deviation of that."""
        shares = [one for one, at in zip(self.share, self.hour, strict=True) if at == hour]
        return sum(1 / one for one in shares), sum((1 - one) / one**2 for one in shares) ** 0.5


def day(hours: Sequence[int], *, quieter: int = 0, busier: int = 0, name: str = "d") -> Kept:
    """Live through a day with so many requests each hour."""
    kept, today, left = Kept(), 0, 0
    for hour, count in enumerate(hours):
        for _ in range(count):
            if left <= 0:
                days = Days(today=today, quieter=quieter, busier=busier)
                kept.last, left = share_of(days, target=TARGET), STEP
            today += 1
            if keep("support", f"{name}{today}", kept.last):
                left -= 1
                kept.share.append(kept.last)
                kept.hour.append(hour)
                kept.ids.append(f"{name}{today}")
    return kept


def bound(total: int, *, quieter: int, busier: int) -> float:
    """What :func:`share_of` promises, one more step, and five deviations of a binomial."""
    low = max(TARGET, quieter)
    high = max(low, busier)
    promised = total * TARGET / low
    if total > low:
        promised = TARGET * (1 + (1 - low / high) + max(0.0, log(total / high))) * 1.06 + STEP
    return promised + 5 * promised**0.5


hourly = st.lists(st.integers(0, 40), min_size=24, max_size=24)
bursts = st.builds(
    lambda hour, count: [count * (at == hour) for at in range(24)],
    st.integers(0, 23),
    st.integers(0, TARGET),
)
before = st.integers(0, 20 * TARGET)


@given(st.one_of(hourly, bursts), before)
def test_a_day_within_the_target_is_kept_whole_if_one_before_it_was(
    hours: list[int], busier: int
) -> None:
    while sum(hours) > TARGET:
        hours = [count // 2 for count in hours]
    kept = day(hours, quieter=min(busier, TARGET), busier=busier)
    assert len(kept.ids) == sum(hours)


@given(
    st.lists(st.integers(0, 40 * TARGET), min_size=2, max_size=2).map(sorted),
    st.lists(st.integers(0, 40 * TARGET), min_size=2, max_size=2).map(sorted),
)
def test_the_share_only_falls_within_a_day_and_never_while_the_target_is_not_reached(
    known: list[int], today: list[int]
) -> None:
    now, later = (
        share_of(Days(today=count, quieter=known[0], busier=known[1]), target=TARGET)
        for count in today
    )
    assert 0 < later <= now <= 1
    if known[0] <= TARGET and today[0] <= TARGET:
        assert now == 1.0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=24, max_size=24),
    st.integers(1, 60),
    st.lists(before, min_size=2, max_size=2).map(sorted),
)
def test_what_is_kept_of_a_day_has_a_bound_whatever_comes(
    rhythm: list[int], times: int, known: list[int]
) -> None:
    hours = [count * times for count in rhythm]
    kept = day(hours, quieter=known[0], busier=known[1])
    assert len(kept.ids) <= bound(sum(hours), quieter=known[0], busier=known[1])


TEN_TIMES = 10 * TARGET // 24
STEADY = [TEN_TIMES] * 24
RHYTHM = [4 * TEN_TIMES // 8] * 8 + [TEN_TIMES * 2] * 8 + [TEN_TIMES // 2] * 8
QUIET_THEN_FLOOD = [1] * 12 + [2 * TEN_TIMES] * 12


@pytest.mark.parametrize("hours", [STEADY, RHYTHM, QUIET_THEN_FLOOD])
def test_ten_times_the_target_costs_the_target_and_every_hour_has_the_same_share(
    hours: list[int],
) -> None:
    total = sum(hours)
    kept = day(hours, quieter=round(0.9 * total), busier=round(1.1 * total))
    assert len(kept.ids) <= 1.25 * TARGET
    assert min(kept.share) >= 0.8 * max(kept.share)
    for hour, count in enumerate(hours):
        got, share = kept.hour.count(hour), kept.share[0]
        # at most a fifth less in the last hours, and five deviations of a binomial
        assert 0.8 * count * share - 5 * (count * share) ** 0.5 <= got
        assert got <= count * share + 5 * (count * share + 1) ** 0.5


@pytest.mark.parametrize("known", [(0, 0), (30, 30), (30, 10 * TARGET)])
@pytest.mark.parametrize("hours", [STEADY, RHYTHM, QUIET_THEN_FLOOD])
def test_of_a_flood_that_nothing_foretold_weights_tell_every_hour(
    hours: list[int], known: tuple[int, int]
) -> None:
    kept = day(hours, quieter=known[0], busier=known[1])
    assert len(kept.ids) <= 3.7 * TARGET  # 1 + log 10, and the steps
    for hour, count in enumerate(hours):
        estimate, deviation = kept.estimated(hour)
        # some 30 of them at ten to one: five deviations, and one request that stands for ten
        assert abs(estimate - count) <= 5 * deviation + 1 / kept.last


def test_of_an_unforeseen_day_the_last_share_holds_an_even_sample() -> None:
    kept = day(STEADY)
    even = [
        hour
        for name, hour in zip(kept.ids, kept.hour, strict=True)
        if keep("support", name, kept.last)
    ]
    expected = TEN_TIMES * kept.last
    assert 0.85 * TARGET < len(even) < 1.15 * TARGET
    for hour in range(24):
        assert abs(even.count(hour) - expected) <= 5 * expected**0.5


def test_an_adapter_settles_at_the_target_the_day_after_and_a_week_after_a_flood_began() -> None:
    total, counts, kept = 10 * TARGET, [30] * 8, []
    for number in range(9):
        known = (counts[-1], counts[-7])
        today = day(STEADY, quieter=min(known), busier=max(known), name=f"{number}-")
        kept.append(len(today.ids) / TARGET)
        counts.append(sum(STEADY))
    assert kept[0] < 3.7, "the first day: nothing foretold it"
    assert max(kept[1:7]) < 2.3, "all until the target is reached, then a tenth of the rest"
    assert max(kept[7:]) < 1.25
    assert total == pytest.approx(counts[-1], rel=0.01)
