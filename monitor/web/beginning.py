"""The page that plans and begins a canary: the question, and the plan that answers it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detectors.trial_plan import Choice, Wanted, choices, choose, detectable_drop
from monitor.domain import Mode, Version, VersionId
from monitor.store.errors import NotFound
from monitor.store.records import capture_counts
from monitor.store.registry import versions
from monitor.store.traffic import canaries, routes
from monitor.store.traffic.canaries import CanaryId
from monitor.traffic.arms import stable_arm
from monitor.traffic.trial.foresight import foresee_ways, step_of
from monitor.traffic.trial.guards import as_equals
from monitor.traffic.trial.orders import Orders, Wish
from monitor.traffic.trial.prechecks import Precheck
from monitor.traffic.trial.prospect import Way, WayKind, warning
from monitor.traffic.trial.route import unfit
from monitor.traffic.trial.states import CanaryStep

DAY: Final = timedelta(days=1)
LARGEST_ID: Final = 2**31 - 1
MOST_HOURS: Final = 24 * 3650
_NUMBERS: Final = ("drop", "rate", "margin", "days", "per_day", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryForm:
    """The question that a canary must answer; shares in percent, as people type them.

    of
        The version on trial; None: not chosen yet.
    per_day
        Requests of the adapter; None: those of the last 24 hours.
    weight
        The chosen share of the traffic; None: the smallest that decides in time.
    """

    of: int | None = None
    drop: float = 10.0
    rate: float = 85.0
    margin: float = 5.0
    days: float = 3.0
    per_day: float | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLine:
    """One share of the traffic, with the time it needs; falls in points."""

    choice: Choice
    weight: float
    in_a_day: float | None
    """Smallest fall that a day reveals; None: no fall is large enough."""
    in_time: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The contents of the page on which a canary begins. ``problem``: why there is no plan."""

    asked: CanaryForm
    candidates: Sequence[Version]
    version: Version | None = None
    control: str | None = None
    standing: CanaryId | None = None
    """The canary of the same adapter that a new one would supersede."""
    latched: CanaryId | None = None
    """The canary by which the version was rolled back."""
    per_day: float = 0.0
    lines: Sequence[ShareLine] = ()
    chosen: ShareLine | None = None
    ways: Mapping[str, Way] = field(default_factory=dict)
    """The ways to begin, by kind, each with its forecast; empty without a route."""
    problem: str | None = None
    unfit: str | None = None
    """Why no canary can begin on the route as it is."""

    @property
    def one(self) -> CanaryStep | None:
        """The one step offered: the chosen one, else one that is decided without a person."""
        if self.chosen:
            return step_of(self.chosen.choice)
        way = self.ways.get(WayKind.ONE.value)
        return way.plan.steps[0] if way else None

    def comes_to(self, kind: str) -> str | None:
        """Return why a way may need a person to decide; None: it does not, or has no forecast."""
        way, version = self.ways.get(kind), self.version
        if way is None or version is None or self.control is None:
            return None
        return warning(way.prospect, version=version.name, control=self.control)


def read_asked(fields: Mapping[str, str]) -> CanaryForm:
    """Read the form that plans; raises ValueError that names the field."""
    of = _number(fields, "of")
    if of is not None and not (of.is_integer() and 1 <= of <= LARGEST_ID):
        raise ValueError("of: choose one of the versions")
    given = {name: _number(fields, name) for name in _NUMBERS}
    known = {name: value for name, value in given.items() if value is not None}
    return CanaryForm(of=None if of is None else int(of), **known)


def read_wish(tx: Connection, fields: Mapping[str, str]) -> Wish:
    """Read the form that begins; raises ValueError that names the field, or ``NotFound``."""
    asked = read_asked(fields)
    if asked.of is None:
        raise ValueError("of: choose one of the versions")
    mode = fields.get("mode", "")
    return Wish(
        steps=(_step(fields, asked),) if fields.get("how") == "one" else (),
        version=versions.fetch_by_id(tx, VersionId(asked.of)),
        shadow=fields.get("how") == "shadow",
        mode=Mode(mode) if mode else None,
        unchecked=[check for check in Precheck if fields.get(f"skip_{check.value}")],
    )


def _step(fields: Mapping[str, str], asked: CanaryForm) -> CanaryStep:
    hours, requests = _number(fields, "hours"), _number(fields, "requests")
    if not asked.weight:
        raise ValueError("weight: a share of the traffic above 0 %")
    if hours is None or not 0.0 < hours <= MOST_HOURS:
        raise ValueError(f"hours: above 0, and at most {MOST_HOURS:,}")
    if requests is None or not requests.is_integer() or abs(requests) > LARGEST_ID:
        raise ValueError("requests: a whole number")
    return CanaryStep(
        weight=asked.weight / 100.0, lasts=timedelta(hours=hours), requests=int(requests)
    )


def read_beginning(
    tx: Connection, asked: CanaryForm, orders: Orders, *, now: datetime
) -> Beginning:
    """Compute the plan for the form, and the other ways to begin."""
    version = _fetched(tx, asked.of)
    plain = Beginning(asked=asked, candidates=_candidates(tx))
    if version is None:
        return plain
    stands = canaries.active(tx, version.adapter_id)
    latched = canaries.latched(tx, version.adapter_id).get(version.name)
    route = routes.get(tx, version.adapter)
    counted = capture_counts.requests(tx, adapter_id=version.adapter_id, since=now - DAY)
    per_day = float(counted) if asked.per_day is None else asked.per_day
    known = replace(
        plain,
        version=version,
        control=stable_arm(route).version if route else None,
        unfit=unfit(route, version.name, replaces=stands.version if stands else None),
        standing=stands.id if stands else None,
        latched=latched,
        per_day=per_day,
    )
    guards = orders.guards(version.adapter)
    try:
        lines = _lines(asked, per_day, guardrails=as_equals(guards))
    except ValueError as error:
        return replace(known, problem=str(error))
    chosen = _chosen(lines, asked)
    ways = foresee_ways(
        tx,
        version.adapter,
        guards,
        settings=orders.settings,
        now=now,
        requests_per_day=asked.per_day,
        one=step_of(chosen.choice) if chosen else None,
    )
    return replace(known, lines=lines, chosen=chosen, ways={way.kind.value: way for way in ways})


def _chosen(lines: Sequence[ShareLine], asked: CanaryForm) -> ShareLine | None:
    if asked.weight is not None:
        return next((line for line in lines if math.isclose(line.weight, asked.weight)), None)
    found = choose([line.choice for line in lines], within_days=asked.days)
    return next((line for line in lines if line.choice is found), None)


def _lines(asked: CanaryForm, per_day: float, *, guardrails: int) -> list[ShareLine]:
    if per_day <= 0.0:
        raise ValueError("no request was counted in the last 24 hours: say how many there will be")
    wanted = Wanted(
        rate=asked.rate / 100.0,
        drop=asked.drop / 100.0,
        margin=asked.margin / 100.0,
        critical=False,
        guardrails=guardrails,
        requests_per_day=per_day,
    )
    return [_line(choice, wanted, asked) for choice in choices(wanted)]


def _line(choice: Choice, wanted: Wanted, asked: CanaryForm) -> ShareLine:
    smallest = detectable_drop(wanted, weight=choice.weight, days=1.0)
    return ShareLine(
        choice=choice,
        weight=100.0 * choice.weight,
        in_a_day=100.0 * smallest if smallest <= wanted.rate else None,
        in_time=choice.days <= asked.days,
    )


def _candidates(tx: Connection) -> list[Version]:
    """Return the versions that are not in charge, the newest of each adapter first."""
    in_charge = {(route.adapter, stable_arm(route).version) for route in routes.all_routes(tx)}
    known = [v for v in versions.fetch_all(tx) if (v.adapter, v.name) not in in_charge]
    return sorted(known, key=lambda version: (version.adapter, -version.id))


def _fetched(tx: Connection, version_id: int | None) -> Version | None:
    if version_id is None:
        return None
    try:
        return versions.fetch_by_id(tx, VersionId(version_id))
    except NotFound:
        return None


def _number(fields: Mapping[str, str], name: str) -> float | None:
    text = fields.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}: {text[:20]!r} is not a number")
    return value
