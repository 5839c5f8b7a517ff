"""The forecast whether and when each step of a canary is decided without a person. Pure.

The forecast assumes a canary that is no worse than the version in charge. It warns the
person who begins a canary that would end without a decision. It never refuses a canary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from detectors.trial_plan import WEIGHTS
from detectors.trial_prospect import Stage, StepOutlook, reaches, shortest
from monitor.traffic.trial.gauges import DAY, TrialPace
from monitor.traffic.trial.guards import Guard
from monitor.traffic.trial.settings import FEWEST, CanarySettings
from monitor.traffic.trial.states import CanaryStep, Plan

IN_SIGHT: Final = timedelta(days=365)
"""The horizon of the forecast: moments after it count as unknown."""
PATIENCE: Final = timedelta(days=30)
"""Longest step that is advised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProspect:
    """The forecast of one step; a moment is None where it lies beyond the horizon.

    requests_at, inside_at
        The step has its requests; in 9 of 10 canaries every bound is inside its margin.
    ends_at
        Both hold, and the step's least time is over.
    asked_at
        A person is asked then, if the step has not ended before.
    chance
        Probability that a canary that is no worse is decided by the look at that time; in
        [0, 1]. Some more are decided by an earlier look.
    slowest
        The guardrail that takes longest; None: none is known.
    """

    number: int
    step: CanaryStep
    requests_at: datetime | None
    inside_at: datetime | None
    ends_at: datetime | None
    asked_at: datetime
    chance: float
    slowest: str | None

    @property
    def decided(self) -> bool:
        return self.ends_at is not None and self.ends_at <= self.asked_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """The forecast of all steps from ``since`` on, the present one first.

    requests_per_day, copies_per_day
        The traffic assumed.
    known
        Whether it is known how soon any bound can be inside its margin.
    latest_at
        A person is asked by then, whatever the result.
    """

    since: datetime
    requests_per_day: float
    copies_per_day: float
    known: bool
    steps: tuple[StepProspect, ...]
    latest_at: datetime

    @property
    def promotable(self) -> bool:
        """Whether every step is decided without a person in 9 of 10 canaries that are no worse."""
        return all(step.decided for step in self.steps)

    @property
    def verdict_at(self) -> datetime | None:
        """Return when all steps are over; None where a person is asked, or beyond the horizon."""
        return self.steps[-1].ends_at if self.promotable else None

    @property
    def chance(self) -> float:
        return min(step.chance for step in self.steps)

    @property
    def stuck(self) -> StepProspect | None:
        """The first step that needs a person to decide."""
        return next((step for step in self.steps if not step.decided), None)


class WayKind(StrEnum):
    """The ways to try a version."""

    STEPS = "steps"
    ONE = "one"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to try a version from now on, with its forecast."""

    kind: WayKind
    plan: Plan
    prospect: Prospect

    @property
    def copies(self) -> int:
        """Copies that a shadow answers until its verdict."""
        found = self.prospect
        ends = found.steps[0].ends_at
        if not self.plan.steps[0].shadow or ends is None:
            return 0
        return math.ceil((ends - found.since) / DAY * found.copies_per_day)


def prospect(
    pace: TrialPace,
    plan: Plan,
    guards: Sequence[Guard],
    settings: CanarySettings,
    *,
    now: datetime,
    step: int = 0,
) -> Prospect:
    """Forecast the steps from the present one; a paused step counts as resumed now."""
    left = plan.steps[step:]
    found = reaches(
        [_stage(one, plan) for one in left],
        requests_per_day=pace.requests_per_day,
        copies_per_day=pace.copies_per_day,
        beside=pace.gauges(guards, plan, settings, copies=False),
        pairs=pace.gauges(guards, plan, settings, copies=True),
        ran=pace.ran,
        seen=pace.seen,
    )
    steps: list[StepProspect] = []
    begins: datetime | None = now
    latest = now
    for number, (one, reach) in enumerate(zip(left, found, strict=True), start=step + 1):
        latest += reach.left * DAY
        begins = begins if begins is not None else latest - reach.left * DAY
        steps.append(_step(number, one, reach, begins))
        begins = steps[-1].ends_at
    return Prospect(
        since=now,
        requests_per_day=pace.requests_per_day,
        copies_per_day=pace.copies_per_day,
        known=bool(pace.worth),
        steps=tuple(steps),
        latest_at=latest,
    )


def _stage(step: CanaryStep, plan: Plan) -> Stage:
    days = step.lasts / DAY
    return Stage(
        weight=step.weight, days=days, longest=days * (1 + plan.extensions), requests=step.requests
    )


def _step(number: int, step: CanaryStep, reach: StepOutlook, begins: datetime) -> StepProspect:
    return StepProspect(
        number=number,
        step=step,
        requests_at=_after(begins, reach.requests_after),
        inside_at=_after(begins, reach.inside_after),
        ends_at=_after(begins, reach.after),
        asked_at=begins + reach.left * DAY,
        chance=reach.chance,
        slowest=reach.slowest,
    )


def _after(begins: datetime, days: float) -> datetime | None:
    return begins + days * DAY if days * DAY.total_seconds() < IN_SIGHT.total_seconds() else None


def ways(
    pace: TrialPace,
    guards: Sequence[Guard],
    settings: CanarySettings,
    *,
    now: datetime,
    one: CanaryStep | None = None,
) -> tuple[Way, ...]:
    """Return the ways to try a version: the steps of the config, one step, and a shadow.

    ``one`` is a chosen step. Otherwise it is the smallest share that is decided before the
    config's steps would ask a person, or the largest share; it is left out where that takes
    longer than ``PATIENCE``.
    """
    chosen = one or _one(pace, guards, settings)
    plans = [
        (WayKind.STEPS, settings.plan()),
        (WayKind.ONE, settings.plan(steps=(chosen,)) if chosen else None),
        (WayKind.SHADOW, settings.plan(shadow=True)),
    ]
    return tuple(
        Way(kind=kind, plan=plan, prospect=prospect(pace, plan, guards, settings, now=now))
        for kind, plan in plans
        if plan is not None
    )


def _one(pace: TrialPace, guards: Sequence[Guard], settings: CanarySettings) -> CanaryStep | None:
    if pace.requests_per_day <= 0.0:
        return None
    gauges = pace.gauges(guards, settings.plan(), settings, copies=False)
    days = {
        weight: shortest(
            gauges,
            weight=weight,
            requests_per_day=pace.requests_per_day,
            fewest=max(settings.requests, FEWEST),
        )
        for weight in WEIGHTS
    }
    timely = sum((step.lasts for step in settings.steps), timedelta()) * (1 + settings.extensions)
    weight = next((w for w in WEIGHTS if days[w] <= timely / DAY), WEIGHTS[-1])
    if days[weight] > PATIENCE / DAY:
        return None
    lasts = timedelta(hours=math.ceil(24.0 * days[weight]))
    return CanaryStep(
        weight=weight, lasts=max(lasts, timedelta(hours=1)), requests=settings.requests
    )


def warning(found: Prospect, *, version: str, control: str) -> str | None:
    """Say why a person must decide some step; None: in 9 of 10 canaries none must.

    ``version`` and ``control`` are the arms' names.
    """
    if found.requests_per_day <= 0.0:
        return "no request was counted in the last 24 hours: no step is decided without traffic"
    stuck = found.stuck
    if stuck is None:
        return None if found.known else _unknown(control)
    step, asked = stuck.step, f"a person is asked on {_date(stuck.asked_at)} already"
    name = "the shadow" if step.shadow else f"step {stuck.number} ({100 * step.weight:.3g} %)"
    traffic = found.copies_per_day if step.shadow else found.requests_per_day
    at = f"at {traffic:,.0f} {'copies' if step.shadow else 'requests'} a day {name}"
    if stuck.requests_at is None or stuck.requests_at > stuck.asked_at:
        fewer = version if step.weight <= 1.0 - step.weight else control
        what = "pairs" if step.shadow else f"requests of {fewer}"
        return f"{at} reaches {step.requests:,} {what} {_on(stuck.requests_at)}; {asked}"
    return (
        f"{at} proves {stuck.slowest} to be inside its margin {_on(stuck.inside_at)}, in 9 of 10"
        f" canaries that are no worse; {asked}, when {10 * stuck.chance:.0f} of 10 or more are"
        " decided"
    )


def _unknown(control: str) -> str:
    return (
        f"too few answers of {control} were recorded in the last 24 hours to say when a"
        " guardrail can be inside its margin"
    )


def advice(found: Sequence[Way], *, adapter: str, version: str) -> str | None:
    """Say which other ways need no person to decide, and when they end; None: there are none.

    Commands stand between backticks.
    """
    said = []
    for way in found:
        ends, step = way.prospect.verdict_at, way.plan.steps[0]
        if ends is None or way.kind is WayKind.STEPS:
            continue
        command = f"driftline canary start {adapter} {version}"
        if way.kind is WayKind.SHADOW:
            said.append(f"`{command} --shadow` on {_date(ends)}, over {way.copies:,} prompts or so")
        else:
            hours = step.lasts / timedelta(hours=1)
            said.append(f"`{command} --step {step.weight:g}:{hours:g}h` on {_date(ends)}")
    return ", ".join(said) or None


def _on(at: datetime | None) -> str:
    return f"on {_date(at)}" if at is not None else "in no time that is in sight"


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
