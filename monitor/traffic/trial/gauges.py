"""The information that one request gives about each guardrail, from an adapter's usual answers.

Before a canary is measured, the version in charge is compared with itself over its last
day. Afterwards the canary's own measurements replace this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from detectors.trial import FEWEST_UNITS
from detectors.trial_prospect import Gauge
from monitor.domain import AdapterId, VersionId
from monitor.store.records import capture_counts
from monitor.traffic.trial.columns import Column, count, degradation, kind_of
from monitor.traffic.trial.comparing import carried_from_json
from monitor.traffic.trial.guards import Guard, GuardKind, alphas, held_to
from monitor.traffic.trial.measure import Carried
from monitor.traffic.trial.reading import Trial, answered
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import CanaryState, CanaryStep, Plan

DAY: Final = timedelta(days=1)
ALIKE: Final = 0.7
"""Assumed share of prompts that two versions of equal quality answer alike, as in the
simulation of canaries; their answers to the others count as independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The information (1/variance) that one request gives about a guardrail; 0: not known.

    request
        Of one request to any arm, over w(1-w) at a share w of the canary.
    copy
        Of one pair of answers.
    """

    kind: GuardKind
    request: float
    copy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPace:
    """The requests and the information per day that an adapter's traffic gives a canary.

    requests_per_day, copies_per_day
        Requests to all arms, and those of which a shadow gets a copy.
    worth
        Information of each known guardrail; empty where the version in charge has too few
        records.
    sums
        Sums that the canary has gathered for each guardrail so far.
    ran, seen
        Time in days, and requests of the smaller arm, that the present step has so far.
    """

    requests_per_day: float
    copies_per_day: float
    worth: Mapping[str, Worth]
    sums: Mapping[str, Carried] = field(default_factory=dict)
    ran: float = 0.0
    seen: int = 0

    def at(self, requests_per_day: float) -> TrialPace:
        """Return the same pace for other traffic, with an equal part of it copied."""
        if self.requests_per_day <= 0.0:
            return replace(self, requests_per_day=requests_per_day, copies_per_day=requests_per_day)
        by = requests_per_day / self.requests_per_day
        return replace(
            self, requests_per_day=requests_per_day, copies_per_day=self.copies_per_day * by
        )

    def gauges(
        self, guards: Sequence[Guard], plan: Plan, settings: CanarySettings, *, copies: bool
    ) -> tuple[Gauge, ...]:
        """Return the guardrails as a step with a share, or a shadow step, applies them."""
        shares = alphas(held_to(guards, shadow=copies), settings.alpha / plan.processes)
        per_day = self.copies_per_day if copies else self.requests_per_day
        margins = {GuardKind.RATE: settings.margin_rate, GuardKind.RANK: settings.margin_rank}
        found = []
        for name, worth in self.worth.items():
            if name not in shares:
                continue
            sums = self.sums.get(name, Carried())
            found.append(
                Gauge(
                    name=name,
                    alpha=shares[name],
                    margin=margins[worth.kind],
                    pace=per_day * (worth.copy if copies else worth.request),
                    information=sums.information,
                    planned=sums.planned,
                )
            )
        return tuple(gauge for gauge in found if gauge.pace > 0.0)


def counted(
    tx: Connection,
    adapter_id: AdapterId,
    control_id: VersionId,
    guards: Sequence[Guard],
    *,
    now: datetime,
) -> TrialPace:
    """Read the traffic and the information of the last 24 hours.

    Cost: as a window of a day of the version in charge.
    """
    since = now - DAY
    counts = capture_counts.totals(tx, adapter_id=adapter_id, since=since)
    requests = sum(counts.get(outcome, 0) for outcome in capture_counts.REQUESTS)
    trial = Trial(
        adapter_id=adapter_id,
        version_id=control_id,
        control_id=control_id,
        since=since,
        usual_until=since,
        last_look=since,
        end=now,
        shadow=False,
    )
    records, columns = answered(tx, trial, guards)
    soft = {guard.name: guard for guard in guards if guard.kind is not GuardKind.HARD}
    found = {
        name: _worth(soft[name], column, records)
        for name, column in columns.items()
        if name in soft
    }
    return TrialPace(
        requests_per_day=float(requests),
        copies_per_day=float(counts.get("accepted", 0)),
        worth={name: worth for name, worth in found.items() if worth is not None},
    )


def _worth(guard: Guard, column: Column, records: int) -> Worth | None:
    """Return a request's information; comparing a column with itself doubles the variance."""
    kind = guard.kind or kind_of(column, column)
    found = degradation(guard, kind, column, column)
    if found is None:
        return None
    known = count(column)
    variance = found.variance * known / 2.0
    apart = 1.0 if kind is GuardKind.RANK else 2.0 * variance * (1.0 - ALIKE)
    share = known / records
    return Worth(kind=kind, request=share / variance, copy=share / apart)


def gathered(
    pace: TrialPace,
    carried: Mapping[str, Any],
    state: CanaryState,
    step: CanaryStep,
    guards: Sequence[Guard],
    *,
    seen: int,
    until: datetime | None,
    now: datetime,
) -> TrialPace:
    """Replace the counted pace by the canary's own measurements so far.

    ``seen`` are requests of the smaller arm in the present step, read up to ``until``. Less
    than a day of them is a poor estimate of the rest: their rate then counts only if it
    exceeds that of the last 24 hours. Feedback that nobody gives on copies delays no
    shadow.
    """
    if state.step_since is None or state.clock_since is None:
        return pace
    latest, closed = (carried_from_json(carried.get(which, {})) for which in ("latest", "closed"))
    worth = dict(pace.worth)
    for name, sums in latest.items():
        before = closed.get(name, Carried()).information
        told = _told(sums.information - before, sums.kind, step, seen, worth.get(name))
        if told is not None:
            worth[name] = told
    if step.shadow and seen >= FEWEST_UNITS:
        silent = {guard.name for guard in guards if guard.dispensable}
        silent -= {name for name, sums in latest.items() if sums.information > 0.0}
        worth |= {name: replace(worth[name], copy=0.0) for name in silent & worth.keys()}
    ran = max(timedelta(), (state.stopped_at or now) - state.clock_since)
    over = max(timedelta(), (until or state.step_since) - state.step_since)
    here = _at_its_rate(pace, step, seen, over)
    return replace(here, worth=worth, sums=latest, ran=ran / DAY, seen=seen)


def _told(
    information: float, kind: GuardKind | None, step: CanaryStep, seen: int, known: Worth | None
) -> Worth | None:
    """Return the information per request measured in this step; None: there was none."""
    if kind is None or information <= 0.0 or seen == 0:
        return None
    base = known or Worth(kind=kind, request=0.0, copy=0.0)
    if step.shadow:
        return replace(base, kind=kind, copy=information / seen)
    larger = max(step.weight, 1.0 - step.weight)
    return replace(base, kind=kind, request=information / (seen * larger))


def _at_its_rate(pace: TrialPace, step: CanaryStep, seen: int, over: timedelta) -> TrialPace:
    if seen < FEWEST_UNITS or over <= timedelta():
        return pace
    own = seen / (over / DAY)
    if step.shadow:
        taken = own if over >= DAY else max(own, pace.copies_per_day)
        return replace(pace, copies_per_day=taken)
    everything = own / min(step.weight, 1.0 - step.weight)
    taken = everything if over >= DAY else max(everything, pace.requests_per_day)
    return pace.at(taken)
