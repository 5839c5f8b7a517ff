"""When a canary's verdict is to be expected, at the traffic it has had so far. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from monitor.routing.canary.states import CanaryState, Plan, Step

IN_SIGHT: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Moments; None: not known, as nothing was measured yet, or not in sight.

    step_at
        The present step can end then: its time and its requests are there.
    verdict_at
        All steps are over then, if every one ends as early as it can.
    latest_at
        A person is asked by then, whatever is found.
    """

    step_at: datetime | None
    verdict_at: datetime | None
    latest_at: datetime | None


def forecast(state: CanaryState, plan: Plan, *, requests: int | None, now: datetime) -> Forecast:
    """Look ahead from what the present step has seen.

    ``requests`` are those of the smaller arm in this step. Later steps are taken to have
    them in proportion to their weights. While it is paused, time stands still: then the
    moments are those if it went on at once.
    """
    if state.clock_since is None or state.step_since is None or state.ended:
        return Forecast(step_at=None, verdict_at=None, latest_at=None)
    stood = now - state.stopped_at if state.stopped_at else timedelta()
    begun = state.clock_since + stood
    current, later = plan.steps[state.step], plan.steps[state.step + 1 :]
    longest = 1 + plan.extensions
    latest_at = begun + sum((step.lasts * longest for step in (current, *later)), timedelta())
    rate = _rate(requests, (state.stopped_at or now) - state.step_since)
    left = _wait(current, rate, already=requests or 0)
    step_at = None if left is None else max(begun + current.lasts, now + left, now)
    verdict_at = step_at
    for before, step in pairwise((current, *later)):
        rate = _scaled(rate, before, step)
        left = _wait(step, rate)
        if verdict_at is not None:
            verdict_at = None if left is None else verdict_at + max(step.lasts, left)
    return Forecast(step_at=step_at, verdict_at=verdict_at, latest_at=latest_at)


def _rate(requests: int | None, seen_for: timedelta) -> float | None:
    """Requests a second; None before there are any."""
    if not requests or seen_for <= timedelta():
        return None
    return requests / seen_for.total_seconds()


def _wait(step: Step, rate: float | None, *, already: int = 0) -> timedelta | None:
    if already >= step.requests:
        return timedelta()
    if rate is None:
        return None
    seconds = (step.requests - already) / rate
    return timedelta(seconds=seconds) if seconds < IN_SIGHT.total_seconds() else None


def _scaled(rate: float | None, before: Step, step: Step) -> float | None:
    """A shadow says nothing of the traffic that an answering step will have."""
    if rate is None or before.shadow or step.shadow:
        return None
    return rate * step.weight / before.weight
