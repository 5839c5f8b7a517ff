from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import Interval
from monitor.windows import MOST_SKIPPED, Cadence, offset_of, plan

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUARTER = Cadence(interval=timedelta(minutes=15), lag=timedelta(minutes=2))
ZERO = timedelta(0)


def test_a_window_ends_on_the_grid_at_least_a_lag_ago() -> None:
    # 12:16 - 2 min = 12:14, so the newest grid point is 12:00; the next ends 12:15 and is
    # due two minutes later
    got = plan(now=NOON + timedelta(minutes=16), cadence=QUARTER, offset=ZERO, start=None)
    assert got.window == Interval(start=NOON - timedelta(minutes=15), end=NOON)
    assert got.next_due == NOON + timedelta(minutes=17)


def test_an_evaluated_window_is_not_due_again() -> None:
    got = plan(now=NOON + timedelta(minutes=16), cadence=QUARTER, offset=ZERO, start=NOON)
    assert got.window is None
    assert got.next_due == NOON + timedelta(minutes=17)


def test_after_ten_missed_windows_the_newest_runs_and_nine_are_skipped() -> None:
    start = NOON - 10 * QUARTER.interval
    got = plan(now=NOON + QUARTER.lag, cadence=QUARTER, offset=ZERO, start=start)
    assert got.window == Interval(start=NOON - QUARTER.interval, end=NOON)
    assert len(got.skipped) == 9
    assert got.skipped[0].start == start
    assert got.skipped[-1].end == NOON - QUARTER.interval


def test_a_long_absence_is_noted_in_bounded_rows() -> None:
    start = NOON - 5_000 * QUARTER.interval
    got = plan(now=NOON + QUARTER.lag, cadence=QUARTER, offset=ZERO, start=start)
    assert len(got.skipped) == MOST_SKIPPED + 1
    assert got.skipped[0].start == start


def test_a_requested_window_takes_what_is_new_since_the_last() -> None:
    now = NOON + timedelta(minutes=9)
    got = plan(now=now, cadence=QUARTER, offset=ZERO, start=NOON, requested=True)
    assert got.window == Interval(start=NOON, end=now - QUARTER.lag)


@given(
    seconds=st.integers(0, 10**7),
    back=st.integers(0, 10**6),
    interval=st.integers(1, 86_400),
    key=st.integers(0, 10**9),
)
def test_windows_follow_each_other_without_gap_or_overlap(
    seconds: int, back: int, interval: int, key: int
) -> None:
    cadence = Cadence(interval=timedelta(seconds=interval), lag=timedelta(seconds=30))
    now = NOON + timedelta(seconds=seconds)
    start = now - timedelta(seconds=back)
    got = plan(now=now, cadence=cadence, offset=offset_of(key, cadence.interval), start=start)
    assert got.next_due > now
    if got.window is None:
        return
    covered = [*got.skipped, got.window]
    assert covered[0].start == start
    assert all(a.end == b.start for a, b in pairwise(covered))
    assert got.window.end <= now - cadence.lag
    assert got.window.end - got.window.start <= cadence.interval


def test_a_fleet_is_spread_evenly_over_a_few_times() -> None:
    minute, quarter = timedelta(minutes=1), timedelta(minutes=15)
    hard = Counter(offset_of(key, minute).total_seconds() for key in range(1, 1_201))
    assert sorted(hard) == [5.0 * step for step in range(12)]
    assert set(hard.values()) <= set(range(98, 103))
    live = {offset_of(key, quarter).total_seconds() for key in range(1, 1_201)}
    assert live == {5.0 * step for step in range(180)}
