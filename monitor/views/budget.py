"""Who has what of the accepted false pages, and what each detector would see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from monitor.views.shape import View
from monitor.views.vocabulary import DriftWord, OriginWord, UnitWord

DRIFTS: Final[Mapping[str, str]] = {
    "bad_requests": "5 % bad requests",
    "one_sd": "a shift of one standard deviation",
    "half_sd": "a shift of half a standard deviation",
}
"""The drifts that a budget is shown for, in words."""
_NEVER_MEASURED: Final = "never measured any of: "
"""As :class:`detectors.errors.SignalAbsent` says it, before the signals of one check."""


def common_reason(blind: str) -> str:
    """Return what checks have in common that are blind to different signals."""
    common, _, signals = blind.partition(_NEVER_MEASURED)
    return f"{common}never measured what they look at" if signals else blind


class DelayBody(View):
    """From the beginning of a drift to the evidence that crosses its line; null: not in 30 days."""

    hours: float | None
    requests: float | None


class DelaysBody(View):
    """How soon one drift is told, as a ticket and as a page; null: it has no such process."""

    notice: DelayBody | None
    page: DelayBody | None


class DayEffectBody(View):
    """By how much days are taken to differ."""

    sd: float
    """In sd of a request's value."""
    origin: OriginWord
    """Whose days: assumed, the fleet's, or its own few."""


class ShareBody(View):
    """One detector of one version: its part of the budget and what it would see."""

    adapter: str
    version: str
    tier: str
    detector: str
    """`all detectors`: the version has no reference."""
    title: str
    """What it measures, in plain words."""
    pages_per_30_days: float
    notices_per_30_days: float
    requests_per_day: float
    """Those of the last day that it compares; the delays are those of them."""
    minimum_detectable: float | None
    """Smallest effect seen within a day, in the detector's unit; null: none."""
    delays: Mapping[DriftWord, DelaysBody]
    """A drift of the detector's first signal alone; those that it can have."""
    blind: str | None
    """Why it sees nothing; null: it sees."""
    only_tickets: str | None
    """Why it cannot page now; null: it can."""
    uncompared: str | None
    """Which share of the requests it does not compare, and why: of them it promises nothing. null:
    none to speak of, or `blind` says it."""
    day_effect: DayEffectBody | None
    """What the reference is too short to know; null: it has seen days and hours."""

    @property
    def told(self) -> Mapping[str, DelayBody]:
        """When each drift is told, by a page, or by a ticket where the check cannot page."""
        delays = {
            drift: found.page if self.only_tickets is None else found.notice
            for drift, found in self.delays.items()
        }
        return {drift: delay for drift, delay in delays.items() if delay is not None}


class TierBody(View):
    """What the adapters of one tier get of the fleet's pages."""

    tier: str
    adapters: int
    weight: float | None
    """null: it has pages of its own."""
    pages_of_adapter: float
    """Accepted false pages of each in 30 days."""


class RoundBody(View):
    """One routine probe of each version of an engine, within the probes' share of its time."""

    engine: str
    versions: int
    seconds: float
    """Of the engine's time, all versions together."""
    wanted_hours: float
    """`schedule.perplexity_interval`."""
    period_hours: float
    """How often each version is probed."""
    text: str


class BudgetBody(View):
    """How the accepted false pages and notices are divided, the blind detectors first."""

    false_pages_per_30_days: float
    notices_per_30_days: float
    """Of each adapter without a number of its own."""
    tiers: Sequence[TierBody]
    items: Sequence[ShareBody]
    rounds: Sequence[RoundBody]
    """Of each engine that was probed this week."""


class SizeBody(View):
    """How small a fault may be."""

    size: float
    """In the fault's unit."""
    text: str


class SizesBody(View):
    """The smallest fault that is told within each time; null: none is."""

    hour: SizeBody | None
    day: SizeBody | None
    week: SizeBody | None


class PlannedBody(View):
    """One kind of fault, as one version would see it."""

    version: str
    detector: str
    """`all detectors`: the version has no reference."""
    fault: str
    unit: UnitWord
    requests_per_day: float | None
    """Those of the last day that are compared; null: a probe, which needs none."""
    ticket: SizesBody
    page: SizesBody
    note: str | None
    """Why it sees nothing or opens no page, or for which requests it promises nothing; of a probe,
    how often it is made."""


class FaultPlanBody(View):
    """What the baselines of an adapter's watched versions would show."""

    adapter: str
    power: float
    """Share of faults of the told size that are told in time, at least."""
    items: Sequence[PlannedBody]
