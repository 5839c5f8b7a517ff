import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery import DeliveryFailed
from alerts.retry import DEFAULT_DELAYS, RetrySchedule, next_attempt

NOW = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)
BUSY = DeliveryFailed("busy")


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - spreads retries, guards nothing


def seconds(attempts: int, failure: DeliveryFailed = BUSY, *, seed: int = 0) -> float:
    at = next_attempt(attempts, NOW, rng=dice(seed), failure=failure)
    assert at is not None
    return (at - NOW).total_seconds()


@pytest.mark.parametrize(
    ("attempts", "base"),
    [(1, 5), (2, 30), (3, 120), (4, 300), (5, 900), (6, 1800), (7, 3600), (8, 7200), (11, 28800)],
)
@given(seed=st.integers(0, 2**32))
def test_each_delay_is_its_base_within_a_fifth(attempts: int, base: float, seed: int) -> None:
    assert 0.8 * base <= seconds(attempts, seed=seed) <= 1.2 * base


def test_the_schedule_spans_about_a_day() -> None:
    # 5 + 30 + 120 + 300 + 900 + 1800 + 3600 + 7200 + 14400 + 28800 + 28800 = 85 955 s
    assert sum(DEFAULT_DELAYS) == 85_955
    assert next_attempt(12, NOW, rng=dice(0), failure=BUSY) is None


def test_a_permanent_failure_is_a_dead_letter_at_once() -> None:
    gone = DeliveryFailed("gone", permanent=True, status=410, retry_after=1.0)
    assert next_attempt(1, NOW, rng=dice(0), failure=gone) is None


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        pytest.param(1.0, 30.0, id="not earlier than the base"),
        pytest.param(45.0, 45.0, id="as asked"),
        pytest.param(86_400.0, 60.0, id="not later than twice the base"),
        pytest.param(0.0, 30.0, id="zero"),
    ],
)
def test_retry_after_is_honoured_between_once_and_twice_the_base(
    asked: float, given_: float
) -> None:
    assert seconds(2, DeliveryFailed("busy", status=429, retry_after=asked)) == given_


@given(
    delays=st.lists(st.floats(0, 1e5), min_size=1, max_size=5),
    attempts=st.integers(1, 8),
    retry_after=st.none() | st.floats(0, 1e9),
    seed=st.integers(0, 1000),
)
def test_the_next_attempt_is_never_in_the_past_and_never_beyond_twice_its_delay(
    delays: list[float], attempts: int, retry_after: float | None, seed: int
) -> None:
    at = next_attempt(
        attempts,
        NOW,
        rng=dice(seed),
        failure=DeliveryFailed("x", retry_after=retry_after),
        schedule=RetrySchedule(delays=tuple(delays)),
    )
    if attempts > len(delays):
        assert at is None
    else:
        assert at is not None
        assert NOW <= at <= NOW + timedelta(seconds=2 * delays[attempts - 1], milliseconds=1)


def test_an_impossible_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        RetrySchedule(delays=(-1.0,))
    with pytest.raises(ValueError, match="jitter"):
        RetrySchedule(jitter=1.0)
    with pytest.raises(ValueError, match="never tried"):
        next_attempt(0, NOW, rng=dice(0), failure=BUSY)
