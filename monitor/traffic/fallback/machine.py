"""The fallback breaker: its states and its next steps. Pure.

::

    HEALTHY ──crosses──▶ DEGRADED ──may act──▶ FALLBACK ──recovered for the hold──▶ HALF_OPEN
       ▲                    │                     ▲                                    │
       ├─────recovers───────┘                     ├───fires again, or its time is up───┤
       └───────────────stays good for the trial, over enough records───────────────────┘

The state is not stored. It follows from the route in force, the verdict and the times of the
version's fallbacks, so a restart forgets nothing and two daemons agree.

A version in ``FALLBACK`` has no traffic. It recovers after two unchanged probes in a row, and
then gets a trial: in ``HALF_OPEN`` it answers a small share of the traffic. A trial that fires
again ends. Each failed trial, or fallback within ``streak_gap`` of the one before, doubles the
hold before the next trial, up to ``return_hold_max``. A trial's route has a term: if Driftline is
down, readers give all traffic back to the fallback arm by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final, assert_never

from alerts.types import Blame, VerdictKind
from alerts.words import duration
from monitor.domain import ArmKind, Route, Verdict
from monitor.store.traffic.actions import Away
from monitor.traffic.settings import RoutingSettings


class BreakerState(StrEnum):
    """The state of an adapter's breaker, for the version in charge."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FALLBACK = "fallback"
    HALF_OPEN = "half_open"


BAD: Final = frozenset({VerdictKind.DRIFTING, VerdictKind.CRITICAL})
ELSEWHERE: Final = frozenset({Blame.INPUT, Blame.BASE, Blame.SERVING})
"""Causes that say nothing against the version: a trial then waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The history of a version in fallback or on trial.

    fallbacks
        Moves of traffic away from the version, newest first; ends of trials count.
    records
        Records of the version since its first trial after the newest of these moves, over
        7 days at most.
    """

    fallbacks: Sequence[Away] = ()
    records: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerStep:
    """The next state and its reason; an unchanged state means wait, with the numbers."""

    state: BreakerState
    reason: str


def state_of(route: Route | None, verdict: Verdict | None) -> BreakerState:
    """Return the breaker's state under the route that readers follow now.

    ``verdict`` is the stable version's; None before its first.
    """
    weights = {arm.arm: arm.weight for arm in route.arms} if route else {}
    if weights.get(ArmKind.FALLBACK, 0.0) > 0:
        on_trial = weights.get(ArmKind.STABLE, 0.0) > 0
        return BreakerState.HALF_OPEN if on_trial else BreakerState.FALLBACK
    bad = verdict is not None and verdict.kind in BAD
    return BreakerState.DEGRADED if bad else BreakerState.HEALTHY


def streak(fallbacks: Sequence[Away], *, gap: timedelta) -> int:
    """Count the fallbacks in a row: each within ``gap`` of the one before it.

    A trial that failed belongs to the row however late it came: the version never was
    healthy in between.

    >>> from datetime import UTC
    >>> days = [Away(at=datetime(2026, 3, day, tzinfo=UTC)) for day in (20, 18, 2)]
    >>> streak(days, gap=timedelta(days=7))
    2
    """
    count = min(1, len(fallbacks))
    for later, earlier in pairwise(fallbacks):
        if later.at - earlier.at > gap and not later.on_trial:
            break
        count += 1
    return count


def hold(fallbacks: Sequence[Away], settings: RoutingSettings) -> timedelta:
    """Return how long a version must have recovered before its next trial."""
    doublings = max(0, streak(fallbacks, gap=settings.streak_gap) - 1)
    longest = max(settings.return_hold, settings.return_hold_max)
    # beyond 2^20 every hold is the longest, and timedelta would overflow
    factor: int = 2 ** min(doublings, 20)
    return min(longest, settings.return_hold * factor)


def recovered(verdict: Verdict) -> bool:
    """Whether the verdict holds nothing against the version any more.

    A version without traffic has too few records to be called stable. Once its probes have
    cleared every crossing, its verdict is ``insufficient`` with no detector crossed, and
    the version has recovered. A ``blind`` version has not: its requests were not compared.
    """
    quiet = verdict.kind is VerdictKind.INSUFFICIENT and not verdict.detectors
    return verdict.kind is VerdictKind.STABLE or quiet


def fires(verdict: Verdict) -> bool:
    """Whether a version on trial has failed it.

    A ticket is enough here, unlike for a fallback, because the trial itself moved the
    traffic. A change that is blamed on inputs, base model or serving does not count.
    """
    return verdict.kind in BAD and verdict.blame not in ELSEWHERE


def next_step(
    route: Route,
    verdict: Verdict | None,
    progress: Progress,
    settings: RoutingSettings,
    *,
    now: datetime,
) -> BreakerStep:
    """Return the step after ``FALLBACK`` or ``HALF_OPEN``; other states wait for a crossing.

    :func:`monitor.traffic.fallback.decision.decide_fallback` decides the way into
    ``FALLBACK``.
    """
    state = state_of(route, verdict)
    match state:
        case BreakerState.HEALTHY | BreakerState.DEGRADED:
            return BreakerStep(state=state, reason="it has its traffic")
        case BreakerState.FALLBACK:
            return _from_fallback(verdict, progress, settings, now=now)
        case BreakerState.HALF_OPEN:
            return _from_trial(route, verdict, progress, settings, now=now)
        case _:
            assert_never(state)


def _from_fallback(
    verdict: Verdict | None, progress: Progress, settings: RoutingSettings, *, now: datetime
) -> BreakerStep:
    stays = BreakerState.FALLBACK
    if verdict is None or not recovered(verdict):
        return BreakerStep(state=stays, reason=f"the verdict is {_kind(verdict)}")
    waited, needed = now - verdict.since, hold(progress.fallbacks, settings)
    if waited < needed:
        return BreakerStep(
            state=stays, reason=f"recovered {duration(waited)} ago, waits for {duration(needed)}"
        )
    at_once = settings.trial_share >= 1
    return BreakerStep(
        state=BreakerState.HEALTHY if at_once else BreakerState.HALF_OPEN,
        reason=f"recovered {duration(waited)} ago",
    )


def _from_trial(
    route: Route,
    verdict: Verdict | None,
    progress: Progress,
    settings: RoutingSettings,
    *,
    now: datetime,
) -> BreakerStep:
    stays = BreakerState.HALF_OPEN
    if verdict is not None and fires(verdict):
        reason = f"it is {verdict.kind.value} on trial: {verdict.reason}"
        return BreakerStep(state=BreakerState.FALLBACK, reason=reason)
    if verdict is None or not recovered(verdict):
        blame = f", blame {verdict.blame.value}" if verdict and verdict.kind in BAD else ""
        return BreakerStep(state=stays, reason=f"the verdict is {_kind(verdict)}{blame}")
    lasted = now - route.since
    tried = f"{duration(lasted)} of {duration(settings.trial_hold)}"
    if lasted < settings.trial_hold:
        return BreakerStep(state=stays, reason=f"on trial for {tried}")
    if progress.records < settings.trial_records:
        words = f"{progress.records} of {settings.trial_records} requests on trial"
        return BreakerStep(state=stays, reason=words)
    return BreakerStep(
        state=BreakerState.HEALTHY,
        reason=f"good on trial for {duration(lasted)}, {progress.records} requests",
    )


def _kind(verdict: Verdict | None) -> str:
    return verdict.kind.value if verdict else "not known"
