"""Whether an adapter's monitoring sees what it should."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.views.coverage import CoverageBody
from monitor.views.shape import View
from monitor.views.vocabulary import SelfTestWord


class FalseAlarmsBody(View):
    """Alarms of one process over resampled months in which nothing was injected."""

    alarms: int
    months: float
    per_30_days: float
    interval: tuple[float, float]
    """Exact 95 % interval of `per_30_days` (Poisson)."""
    promised: float
    """The version's share of the budget."""
    kept: bool
    """False where the interval lies above the promise."""


class PowerBody(View):
    """A share of resampled streams that alarmed in time."""

    share: float
    interval: tuple[float, float]
    """Exact 95 % interval (Clopper and Pearson)."""


class ToldBody(View):
    """How soon one process tells of an injected drift; null: not within a week."""

    within_day: PowerBody | None
    """null: the baseline is too short to say."""
    within_week: PowerBody | None
    median_hours: float | None
    median_requests: float | None


class InjectionBody(View):
    """One injected drift, by the detectors whose signals it moves."""

    name: str
    text: str
    detectors: Sequence[str]
    notice: ToldBody | None
    page: ToldBody | None
    """null: none of these detectors has a page process."""


class ProcessesBody(View):
    """Both processes; null: it has no share of the budget, or the baseline is too short to say."""

    notice: FalseAlarmsBody | None
    page: FalseAlarmsBody | None


class ReplayedBody(View):
    """The baseline that was replayed, cut in stretches of which every other one was fitted on."""

    records: int
    days: float
    stretches: int
    by_day: bool
    """False: too short for days; cut in 16 parts."""


class SelfTestReport(View):
    """What a self-test found."""

    seed: int
    """Derived from the reference: the same gives the same."""
    baseline: ReplayedBody
    requests_per_day: float
    """The traffic that it was replayed at."""
    check_minutes: float
    """Delays are told in steps of this."""
    streams: int
    """Resampled streams of each injection."""
    detectors: Sequence[str]
    not_tested: dict[str, str]
    """Detectors that half a baseline is too short for."""
    caveat: str | None = None
    """What it cannot tell since the baseline is short; null: nothing."""
    false_alarms: ProcessesBody
    injections: Sequence[InjectionBody]


class SelfTestBody(View):
    """Where the self-test of a version stands."""

    adapter: str
    version: str
    state: SelfTestWord
    progress: float
    """Of the one that is running, in [0, 1]."""
    requested_at: datetime | None
    finished_at: datetime | None
    generation: int | None
    """Of the reference that the report is of."""
    error: str | None
    """Why the last one gave no report."""
    report: SelfTestReport | None
    """The last report; null: none yet."""
    coverage: Sequence[CoverageBody]
    """Of the newest requests: the report holds for those that are compared."""
