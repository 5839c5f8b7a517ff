"""The contents of the canary pages: state, guardrails, and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Final

import msgspec
from sqlalchemy import Connection

from monitor.domain import Route, Version
from monitor.store.traffic import canaries, canary_looks, routes
from monitor.store.traffic.canaries import CanaryId, CanaryRow
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.traffic.trial.foresight import Foreseen, foresee
from monitor.traffic.trial.guards import GuardKind
from monitor.traffic.trial.measure import GuardFound
from monitor.traffic.trial.news import CanaryNews, canary_news
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    CanaryStep,
    OrderKind,
    Pause,
    Phase,
    Plan,
    TrialMove,
    plan_from_json,
    state_from_json,
)
from monitor.web import intervals
from monitor.web.intervals import Band, RackPlace, band, rack_place

RACK: Final = {
    "width": intervals.RACK_WIDTH,
    "zero": intervals.rack_x(0.0),
    "margin": intervals.rack_x(1.0),
}
"""Where the drawings of guardrails have their lines."""
CANARIES_A_PAGE: Final = 50
MOST_EVENTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryLine:
    """One canary in a list."""

    row: CanaryRow
    state: CanaryState
    plan: Plan

    @property
    def step(self) -> CanaryStep:
        return self.plan.steps[self.state.step]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLine:
    """One guardrail at the last look that measured.

    place, band
        Its drawing; None: not known yet, or a hard guardrail.
    critical
        Any proven worsening rolls back.
    """

    found: GuardFound
    place: RackPlace | None
    band: Band | None
    value: str
    lo: str
    hi: str
    margin: str
    unit: str

    @property
    def hard(self) -> bool:
        return self.found.kind is GuardKind.HARD

    @property
    def critical(self) -> bool:
        return not self.hard and self.found.bar < self.found.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """Consecutive looks with the same result; ``last`` represents them."""

    first_at: datetime
    last: CanaryEvent
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryGlance:
    """One canary with its history.

    measured
        The last look that measured; None: none has yet.
    route
        The adapter's present route.
    begun_at
        When its first step began; the pictures begin there.
    stepped
        How long the present step has run, without pauses.
    foreseen
        Its forecast; None: it is decided.
    registered_since
        Versions registered while it is under way.
    """

    line: CanaryLine
    measured: CanaryEvent | None
    guards: Sequence[GuardLine]
    events: Sequence[Happened]
    route: Route | None
    begun_at: datetime | None
    stepped: timedelta
    foreseen: Foreseen | None
    registered_since: Sequence[str]
    orders: Sequence[OrderKind]

    @property
    def headline(self) -> str:
        """The canary's state in one sentence, without numbers."""
        if self.line.state.phase is Phase.RUNNING and not self.line.state.unverified:
            return "No guardrail is worse than allowed; nothing is decided yet."
        return f"{_capital(self._news.headline)}."

    @property
    def users(self) -> str:
        """The part of the users that the version answers."""
        return f"{_capital(self._news.action.text)}."

    @property
    def step(self) -> str:
        """The next step of a person."""
        state = self.line.state
        if state.phase is Phase.PAUSED:
            on = "Extend" if state.pause is Pause.INCONCLUSIVE else "Resume"
            return _STEPS.get(state.proposal, f"{on} it, promote it or roll it back.")
        if state.latched:
            return f"Nothing now: {self.line.row.version} stays out until you let it try again."
        return "Nothing." if state.ended else "Nothing now: it goes on by itself."

    @property
    def _news(self) -> CanaryNews:
        row = self.line.row
        return canary_news(self.line.state, trial=row.version, control=row.control)


_STEPS: Final[Mapping[TrialMove | None, str]] = {
    TrialMove.ROLLBACK: "Roll it back, or resume it.",
    TrialMove.ADVANCE: "Allow the next step, or roll it back.",
    TrialMove.PROMOTE: "Allow the promotion, or roll it back.",
}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def read_list(
    tx: Connection, *, before: int | None = None
) -> tuple[list[CanaryLine], list[CanaryLine], int | None]:
    """Read the canaries under way, a page of those that ended, and the next page's start."""
    active = [] if before else canaries.canary_list(tx, active_only=True, limit=1000)
    found = canaries.canary_list(tx, before_id=before, limit=CANARIES_A_PAGE + 1)
    ended = [row for row in found[:CANARIES_A_PAGE] if row.ended_at is not None]
    older = found[CANARIES_A_PAGE - 1].id if len(found) > CANARIES_A_PAGE else None
    return [_line(row) for row in active], [_line(row) for row in ended], older


def asking(tx: Connection) -> list[CanaryLine]:
    """Read the canaries that wait for a person: paused for any reason."""
    active = [_line(row) for row in canaries.canary_list(tx, active_only=True, limit=1000)]
    return [line for line in active if line.state.phase is Phase.PAUSED]


def read_canary(
    tx: Connection, canary_id: CanaryId, *, settings: CanarySettings, now: datetime
) -> CanaryGlance:
    """Read one canary's page; raises ``NotFound``."""
    line = _line(canaries.fetch(tx, canary_id))
    looks = canary_looks.looks(tx, canary_id)
    measured = canary_looks.last_measured(looks)
    return CanaryGlance(
        line=line,
        measured=measured,
        guards=guard_lines(looks),
        events=happened(looks)[:MOST_EVENTS],
        route=routes.get(tx, line.row.adapter),
        begun_at=next((look.at for look in looks if look.guards is not None), None),
        stepped=_stepped(line.state, now),
        foreseen=foresee(tx, line.row, measured, settings=settings, now=now),
        registered_since=canaries.registered_since(tx, line.row),
        orders=possible(line.state),
    )


def read_trial(
    tx: Connection, version: Version, *, by: datetime
) -> tuple[CanaryLine, list[GuardLine]] | None:
    """Read a version's last canary that had begun by a time, with its guardrails."""
    known = canaries.canary_list(tx, adapter_id=version.adapter_id)
    row = next(
        (one for one in known if one.version_id == version.id and one.created_at <= by), None
    )
    return None if row is None else (_line(row), guard_lines(canary_looks.looks(tx, row.id)))


def possible(state: CanaryState) -> list[OrderKind]:
    """Return the orders that make sense in this state; the state machine decides finally."""
    match state.phase:
        case Phase.DRAFT | Phase.PRECHECKS | Phase.PROMOTING:
            return [OrderKind.ABORT]
        case Phase.RUNNING:
            return [OrderKind.PAUSE, OrderKind.PROMOTE, OrderKind.ABORT]
        case Phase.PAUSED if state.placed:
            return [OrderKind.RESUME, OrderKind.PROMOTE, OrderKind.ABORT]
        case Phase.PAUSED:
            return [OrderKind.RESUME, OrderKind.ABORT]
        case Phase.ROLLED_BACK if state.latched:
            return [OrderKind.RESUME]
        case _:
            return []


def happened(looks: Sequence[CanaryEvent]) -> list[Happened]:
    """Combine consecutive looks with the same result; the newest first."""
    runs = [list(run) for _, run in groupby(looks, key=_came_to)]
    return [Happened(first_at=run[0].at, last=run[-1], times=len(run)) for run in runs[::-1]]


def guard_lines(looks: Sequence[CanaryEvent]) -> list[GuardLine]:
    """Draw every guardrail as of the last look that measured, with its history."""
    looked = [look for look in looks if look.event == "looked"]
    measured = [look for look in looked if look.guards]
    if not measured:
        return []
    drawn = [(look, _guards(look)) for look in intervals.thinned(looked)]
    return [
        _guard_line(
            found,
            [_seen(look, guards.get(name)) for look, guards in drawn],
            since=measured[0].at,
            until=looked[-1].at,
            steps=[look.at for before, look in pairwise(looks) if look.step != before.step],
        )
        for name, found in _guards(measured[-1]).items()
    ]


def _guard_line(
    found: GuardFound,
    looks: Sequence[intervals.GuardLook],
    *,
    since: datetime,
    until: datetime,
    steps: Sequence[datetime],
) -> GuardLine:
    hard = found.kind is GuardKind.HARD
    drawn = None
    if not hard and any(look.value is not None for look in looks):
        drawn = band(
            looks, margin=found.margin, bar=found.bar, since=since, until=until, steps=steps
        )
    place = None
    if not hard and found.lo is not None and found.hi is not None and found.value is not None:
        place = rack_place(
            lo=found.lo, value=found.value, hi=found.hi, bar=found.bar, margin=found.margin
        )
    kind = found.kind
    return GuardLine(
        found=found,
        place=place,
        band=drawn,
        value=intervals.amount(found.value, kind),
        lo=intervals.amount(found.lo, kind),
        hi=intervals.amount(found.hi, kind),
        margin=intervals.amount(found.margin, kind),
        unit=intervals.unit(kind),
    )


def _line(row: CanaryRow) -> CanaryLine:
    return CanaryLine(row=row, state=state_from_json(row.state), plan=plan_from_json(row.plan))


# met here once: alerts/message.py says why
msgspec.json.Decoder(GuardFound)


def _guards(look: CanaryEvent) -> dict[str, GuardFound]:
    found = msgspec.convert(list(look.guards or ()), list[GuardFound])
    return {guard.name: guard for guard in found}


def _seen(look: CanaryEvent, found: GuardFound | None) -> intervals.GuardLook:
    if found is None:
        return intervals.GuardLook(at=look.at, lo=None, value=None, hi=None)
    return intervals.GuardLook(at=look.at, lo=found.lo, value=found.value, hi=found.hi)


def _came_to(look: CanaryEvent) -> object:
    if look.event != "looked":
        return object()  # equal to no other
    return look.phase, look.pause, look.step, look.weight, look.outcome, look.actor


def _stepped(state: CanaryState, now: datetime) -> timedelta:
    if state.clock_since is None or state.ended:
        return timedelta()
    return (state.stopped_at or now) - state.clock_since
