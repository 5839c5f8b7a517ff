"""Forecast of a canary at its adapter's own traffic: read, computed and put in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detectors.trial_plan import Choice
from monitor.store.registry import versions
from monitor.store.traffic import routes
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.traffic.arms import stable_arm
from monitor.traffic.trial.comparing import guards_from_json
from monitor.traffic.trial.gauges import DAY, TrialPace, counted, gathered
from monitor.traffic.trial.guards import Guard
from monitor.traffic.trial.prospect import Prospect, Way, advice, prospect, warning, ways
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    CanaryStep,
    Pause,
    Phase,
    plan_from_json,
    state_from_json,
)

LONGEST: Final = 3650 * DAY
"""Longest duration of a step in a forecast, whatever a plan allows."""
LATEST: Final = 36_500 * DAY
"""Latest time of a verdict in a forecast; a later one is cut to this."""
_AHEAD: Final = frozenset({Phase.DRAFT, Phase.PRECHECKS, Phase.RUNNING, Phase.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The forecast of a canary, in words.

    ``warning`` None: in 9 of 10 cases the canary is decided without a person. ``advice``
    names ways that would be; None: no advice is needed, or no way would do.
    """

    prospect: Prospect
    warning: str | None
    advice: str | None


def foresee(
    tx: Connection,
    canary: CanaryRow,
    last: CanaryEvent | None,
    *,
    settings: CanarySettings,
    now: datetime,
) -> Foreseen | None:
    """Forecast a canary; ``last`` is its last look that measured. None: it is decided.

    Cost: as a window of a day of the version in charge.
    """
    state, plan = state_from_json(canary.state), plan_from_json(canary.plan)
    if state.phase not in _AHEAD:
        return None
    guards = guards_from_json(canary.guards)
    counts = counted(tx, canary.adapter_id, canary.control_id, guards, now=now)
    pace = gathered(
        counts,
        canary.carried,
        state,
        plan.steps[state.step],
        guards,
        seen=_seen(last, state),
        until=canary.measured_until,
        now=now,
    )
    found = prospect(pace, plan, guards, settings, now=now, step=state.step)
    said = warning(found, version=canary.version, control=canary.control)
    if said is None or _asks(state):
        return Foreseen(prospect=found, warning=None, advice=None)
    fresh = _afresh(pace)
    others = [way for way in ways(fresh, guards, settings, now=now) if way.plan != plan]
    told = advice(others, adapter=canary.adapter, version=canary.version)
    return Foreseen(prospect=found, warning=said, advice=told)


def foresee_ways(
    tx: Connection,
    adapter: str,
    guards: Sequence[Guard],
    *,
    settings: CanarySettings,
    now: datetime,
    requests_per_day: float | None = None,
    one: CanaryStep | None = None,
) -> tuple[Way, ...]:
    """Forecast the ways to try a version beside the one in charge, before any is begun.

    ``requests_per_day`` replaces the counted traffic; ``one`` is a step that was chosen.
    None where the adapter has no route.
    """
    route = routes.get(tx, adapter)
    if route is None:
        return ()
    control = versions.fetch(tx, adapter=adapter, name=stable_arm(route).version)
    assert control is not None, "routes name registered versions"  # noqa: S101 (invariant)
    pace = counted(tx, control.adapter_id, control.id, guards, now=now)
    if requests_per_day is not None:
        pace = pace.at(requests_per_day)
    return ways(pace, guards, settings, now=now, one=one)


def step_of(choice: Choice) -> CanaryStep:
    """Return the one step of a chosen plan: its share, whole hours, its requests."""
    days = min(choice.days, LONGEST / DAY)
    return CanaryStep(
        weight=choice.weight,
        lasts=timedelta(hours=max(1, math.ceil(24 * days))),
        requests=choice.requests_to_promote,
    )


def verdict_at(choice: Choice, *, now: datetime) -> datetime:
    """Return when that step has its verdict, good or bad, if it begins now."""
    return now + min(choice.days, LATEST / DAY) * DAY


def _seen(last: CanaryEvent | None, state: CanaryState) -> int:
    if last is None or last.step != state.step or state.step_since is None:
        return 0
    if last.at < state.step_since:
        return 0
    return min(last.trial_requests or 0, last.control_requests or 0)


def _asks(state: CanaryState) -> bool:
    """Whether a person is asked already, or could go on at once."""
    return state.proposal is not None or state.pause is Pause.INCONCLUSIVE


def _afresh(pace: TrialPace) -> TrialPace:
    return replace(pace, sums={}, ran=0.0, seen=0)
