"""Run a self-test from a baseline to its report. Pure: no clock, no I/O, seeded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from detectors import DETECTORS
from detectors.detector import Detector
from detectors.errors import DetectorError
from detectors.null import FRACTIONS
from detectors.rank_detector import RankDetector
from detectors.season import span_days
from detectors.types import SECONDS_PER_DAY, Budget, Floats, Process, State, Window
from monitor.selftest import intervals, replayed
from monitor.selftest.injections import Injection, Signals, injections
from monitor.selftest.replayed import Cut, Rows
from monitor.selftest.streams import Growths, Streams, alarms

DAY: Final = 1.0
WEEK: Final = 7.0
MONTH: Final = 30.0
STREAMS: Final = 100
"""Of each half: resampled months without a drift, and weeks with each injection."""
REUSED: Final = 4.0
"""How often a stream may repeat a record: the two halves differ permanently by chance, and a
longer stream would detect that difference."""
_CAVEAT: Final = (
    "detectors take 300 records, and half of the baseline's {size:,} has fewer: they are fitted on"
    " all of them and replay the same ones, {hours:,.1f} h at a time. How soon a drift is told"
    " within that time is known roughly, how many false alarms come is not known; a reference of"
    " 600 records says more"
)

Told = Callable[[int, int], None]


class TooShort(Exception):  # noqa: N818 - it says what is wrong with the baseline
    """The baseline is too short to fit any detector."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfTestSubject:
    """The input of a self-test.

    shares
        By detector, its current share of the accepted false alarms in 30 days.
    per_day
        The current number of records a day.
    topics
        Signals of requests that training lacks; None if unknown.
    """

    baseline: Window
    shares: Mapping[str, Budget]
    per_day: float
    check_seconds: float
    seed: int
    topics: Signals | None = None
    streams: int = STREAMS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Half:
    """Detectors fitted on one half, or on all, and the half whose evaluations they score."""

    replayed: int
    fitted: Mapping[str, Any]
    missing: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class _Count:
    """One process's alarms over all streams of a scenario: per stream, in evaluations."""

    first: list[Floats] = field(default_factory=list)
    alarms: int = 0
    streams: int = 0


def run(question: SelfTestSubject, *, told: Told = lambda _done, _of: None) -> dict[str, Any]:
    """Test, and report as JSON values; the same question gives the same report.

    The product's detectors are fitted on each half of the baseline, and the other half is replayed
    through them, evaluation by evaluation; the growth of the evidence is then resampled in whole
    stretches. ``told`` is called with the steps done and their total.

    A detector needs 300 records. If none can be fitted on both halves, they are fitted on the whole
    baseline and replay known records: then delays are rough, false alarms are not reported, and the
    report says so (``caveat``).

    Raises
    ------
    TooShort
        No detector can be fitted on the baseline at all.
    """
    return _Test(question, told).report()


class _Test:
    """A running self-test."""

    def __init__(self, question: SelfTestSubject, told: Told) -> None:
        self._question = question
        self._told = told
        self._per_day = _replayed_per_day(question)
        self._cut: Cut = _cut(question, per_day=self._per_day)
        self._longest = REUSED * len(question.baseline) / 2.0 / self._per_day
        self._halves = [
            self._fitted(self._cut.half(number), replay=1 - number) for number in (0, 1)
        ]
        self._caveat: str | None = None
        if not self._names:
            every = np.arange(len(question.baseline), dtype=np.int64)
            self._halves = [self._fitted(every, replay=number) for number in (0, 1)]
            self._caveat = _CAVEAT.format(size=len(every), hours=24.0 * self._longest)
        if not self._names:
            reasons = "; ".join(f"{n}: {why}" for n, why in self._missing().items())
            raise TooShort(f"no detector can be fitted on the baseline: {reasons}")
        self._rng = np.random.default_rng(question.seed)
        injected = [(one, self._changed(one)) for one in injections(question.topics)]
        # a signal that was never measured cannot drift
        self._scenarios = [(one, changed) for one, changed in injected if self._touched(changed)]
        self._steps = (0 if self._caveat else len(self._names) * 2) + sum(
            2 * len(self._touched(changed)) for _, changed in self._scenarios
        )
        self._done = 0

    @property
    def _names(self) -> list[str]:
        """The tested detectors: those fitted on both halves."""
        shares = self._question.shares
        return [name for name in shares if all(name in half.fitted for half in self._halves)]

    def report(self) -> dict[str, Any]:
        question = self._question
        quiet = self._quiet()
        return {
            "seed": question.seed,
            "baseline": {
                "records": len(question.baseline),
                "days": span_days(question.baseline.at),
                "stretches": len(self._cut.stretches),
                "by_day": self._cut.by_day,
            },
            "requests_per_day": self._per_day,
            "check_minutes": question.check_seconds / 60.0,
            "streams": 2 * question.streams,
            "detectors": self._names,
            "not_tested": dict(self._missing()),
            "caveat": self._caveat,
            "false_alarms": quiet,
            "injections": [self._injected(one, changed) for one, changed in self._scenarios],
        }

    def _fitted(self, rows: Rows, *, replay: int) -> _Half:
        window = self._question.baseline
        half = replayed.take(
            window, rows, start=float(window.at[rows[0]]), end=float(window.at[rows[-1]]) + 1.0
        )
        fitted, missing = {}, {}
        for name in self._question.shares:
            try:
                fitted[name] = self._known_hours(DETECTORS[name].fit(half))
            except DetectorError as reason:
                missing[name] = str(reason)
        return _Half(replayed=replay, fitted=fitted, missing=missing)

    def _known_hours(self, reference: Any) -> Any:
        """Mark all hours as seen: a half cut in 16 lacks hours that live traffic would know."""
        if self._cut.by_day:
            return reference
        every = replace(
            reference.coverage,
            hours=np.ones_like(reference.coverage.hours),
            weekdays=np.ones_like(reference.coverage.weekdays),
        )
        return replace(reference, coverage=every)

    def _missing(self) -> dict[str, str]:
        return {name: why for half in self._halves for name, why in half.missing.items()}

    def _changed(self, one: Injection) -> Window:
        """Return the baseline with an injection: only the signals that it moves."""
        window = self._question.baseline
        return replace(window, signals=one.change(window, self._rng))

    def _touched(self, changed: Window) -> list[str]:
        return [n for n in self._names if set(DETECTORS[n].signals) & changed.signals.keys()]

    def _quiet(self) -> dict[str, Any]:
        if self._caveat:
            return dict.fromkeys(process.value for process in Process)
        days = min(MONTH, self._longest)
        counts = self._follow(self._names, self._question.baseline, days=days, once=False)
        return {
            process.value: _false_alarms(
                counts[process], months=days / MONTH, promised=self._promised(process)
            )
            for process in Process
        }

    def _injected(self, one: Injection, changed: Window) -> dict[str, Any]:
        names = self._touched(changed)
        window = self._question.baseline
        mixed = replace(window, signals={**window.signals, **changed.signals})
        counts = self._follow(names, mixed, days=min(WEEK, self._longest), once=True)
        return {
            "name": one.name,
            "text": one.text,
            "detectors": names,
            **{
                process.value: self._power(counts[process])
                if any(self._share(name, process) for name in names)
                else None
                for process in Process
            },
        }

    def _follow(
        self, names: list[str], window: Window, *, days: float, once: bool
    ) -> dict[Process, _Count]:
        """Replay both halves and follow their streams: alarms of any of the detectors."""
        checks = max(1, round(days * SECONDS_PER_DAY / self._question.check_seconds))
        counts = {process: _Count() for process in Process}
        for half in self._halves:
            streams: Streams | None = None
            together = dict.fromkeys(Process, np.empty(0))
            for name in names:
                for process, growths in self._growths(name, half, window).items():
                    if streams is None:
                        streams = Streams.drawn(
                            growths, streams=self._question.streams, checks=checks, rng=self._rng
                        )
                    rung = alarms(
                        growths,
                        streams,
                        share=self._share(name, process),
                        check_seconds=self._question.check_seconds,
                        once=once,
                    )
                    counts[process].alarms += int(rung.sum())
                    first = np.where(rung.any(axis=1), rung.argmax(axis=1) + 1.0, np.inf)
                    seen = together[process]
                    together[process] = np.minimum(seen, first) if seen.size else first
                self._told_one_more()
            for process, first in together.items():
                if first.size:
                    counts[process].first.append(first)
                    counts[process].streams += first.size
        return counts

    def _growths(self, name: str, half: _Half, window: Window) -> dict[Process, Growths]:
        """Score every evaluation of the other half with the product's own detector."""
        reference, budget = half.fitted[name], self._question.shares[name]
        found: dict[Process, list[Floats]] = {process: [] for process in Process}
        for check in replayed.replay(window, self._cut, half=half.replayed):
            part = replayed.take(
                window, check.rows, start=check.start, end=check.start + self._cut.check_seconds
            )
            for process, grown in _increments(DETECTORS[name], reference, part, budget).items():
                found[process].append(grown)
        return {
            process: _growths(np.stack(grown), reference, per_stretch=self._cut.checks)
            for process, grown in found.items()
            if grown
        }

    def _power(self, count: _Count) -> dict[str, Any]:
        per_day = SECONDS_PER_DAY / self._question.check_seconds
        days = np.concatenate(count.first) / per_day
        middle = float(np.quantile(days, 0.5, method="inverted_cdf"))
        seen = np.isfinite(middle)
        return {
            "within_day": self._within(days, DAY),
            "within_week": self._within(days, WEEK),
            "median_hours": 24.0 * middle if seen else None,
            "median_requests": middle * self._per_day if seen else None,
        }

    def _within(self, days: Floats, limit: float) -> dict[str, Any] | None:
        """Return the share of streams alarmed in time; None if the baseline is too short."""
        if limit > self._longest:
            return None
        return intervals.proportion(int((days <= limit).sum()), days.size)

    def _share(self, name: str, process: Process) -> float:
        share = self._question.shares[name]
        return share.notice if process is Process.NOTICE else share.page

    def _promised(self, process: Process) -> float:
        return sum(self._share(name, process) for name in self._names)

    def _told_one_more(self) -> None:
        self._done += 1
        self._told(self._done, self._steps)


def _increments(
    detector: Detector[Any], reference: Any, window: Window, budget: Budget
) -> Mapping[Process, Floats]:
    """Return one evaluation's contribution; zero without a record, as often at low traffic."""
    if not len(window):
        k = len(reference.null.names)
        none = np.zeros((FRACTIONS.size, k))
        processes = [Process.NOTICE, *([Process.PAGE] if budget.page > 0.0 else [])]
        return dict.fromkeys(processes, none)
    if isinstance(detector, RankDetector):
        return detector.follow(reference, window, State(), budget).increments
    return detector.score(reference, window, State(), budget)[0].increments


def _growths(grown: Floats, reference: Any, *, per_stretch: int) -> Growths:
    by = grown.reshape(-1, per_stretch, *grown.shape[1:])
    return Growths(by=by, units=np.asarray(by.any(axis=(2, 3))), weights=reference.null.weights)


def _replayed_per_day(question: SelfTestSubject) -> float:
    """Return today's traffic, at most the baseline's: repeated records are no news."""
    days = span_days(question.baseline.at)
    own = len(question.baseline) / days if days else question.per_day
    return min(question.per_day, own)


def _cut(question: SelfTestSubject, *, per_day: float) -> Cut:
    if not len(question.baseline):
        raise TooShort("the baseline has no records")
    return replayed.cut(question.baseline, per_day=per_day, check_seconds=question.check_seconds)


def _false_alarms(count: _Count, *, months: float, promised: float) -> dict[str, Any] | None:
    """Return alarms beside the promise; kept unless surely (95 %) more than promised."""
    if not count.streams or promised <= 0.0:
        return None
    rate = intervals.rate(count.alarms, count.streams * months)
    return {**rate, "promised": promised, "kept": rate["interval"][0] <= promised}
