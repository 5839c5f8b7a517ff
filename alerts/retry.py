"""Schedule the retries of a delivery: a pure function.

Dense at first, because a page that arrives an hour late has failed; about 24 h in all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.delivery import DeliveryFailed

MINUTE = 60.0
HOUR = 3600.0
DEFAULT_DELAYS = (
    5.0,
    30.0,
    2 * MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    1 * HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    8 * HOUR,
)
"""Seconds after the 1st, 2nd … failed attempt; 23.9 h from the first to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """Base delays in seconds, and the share by which each is randomly spread."""

    delays: tuple[float, ...] = DEFAULT_DELAYS
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if any(delay < 0 for delay in self.delays):
            raise ValueError("retry delays must not be negative")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be in [0, 1), not {self.jitter}")


DEFAULT_SCHEDULE = RetrySchedule()


def next_attempt(
    attempts: int,
    now: datetime,
    *,
    rng: random.Random,
    failure: DeliveryFailed,
    schedule: RetrySchedule = DEFAULT_SCHEDULE,
) -> datetime | None:
    """Return when to try again after ``attempts`` failures, the latest being ``failure``.

    Returns
    -------
    datetime or None
        The base delay, spread by ± ``jitter``. A receiver's ``Retry-After`` is honoured between
        once and twice the base delay, so that it can neither make us hammer it nor silence us. None
        if the delivery is a dead letter: the failure is permanent or the schedule is used up.
    """
    if attempts < 1:
        raise ValueError("a delivery that was never tried has no next attempt")
    if failure.permanent or attempts > len(schedule.delays):
        return None
    base = schedule.delays[attempts - 1]
    return now + timedelta(seconds=_delay(base, failure, rng=rng, jitter=schedule.jitter))


def _delay(base: float, failure: DeliveryFailed, *, rng: random.Random, jitter: float) -> float:
    if failure.retry_after is not None:
        return min(max(failure.retry_after, base), 2 * base)
    return base * (1 + jitter * rng.uniform(-1, 1))
