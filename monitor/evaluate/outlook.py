"""Each detector's share of the budget, its expected delay, and the detectors that are blind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

import numpy as np
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.day_effect import DayEffect
from detectors.expected_delay import (
    Delay,
    Drift,
    Growth,
    expected_delay,
    growth_of,
    minimum_detectable,
)
from detectors.feedback import FEEDBACK
from detectors.types import Budget, Process
from monitor.domain import EvaluationKind, Reference, ReferenceId, Version, VersionId
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy.budget import (
    FEWEST_WEEKDAYS,
    Share,
    ShareStanding,
    pages,
    saw_too_few_days,
    shares,
)
from monitor.policy.coverage import Coverage, Seen
from monitor.policy.coverage_words import blind_share_words
from monitor.policy.rounds import LONGEST, Round, plan_rounds
from monitor.policy.settings import PolicySettings
from monitor.reference.older_feedback import FEEDBACK_OF
from monitor.store import teams
from monitor.store.evaluation import evaluations, probing, verdicts
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.references import calibrations, references
from monitor.store.registry import versions, watching
from monitor.store.traffic import fleet
from monitor.windows import Cadence

DAY: Final = timedelta(hours=24)
BLIND_AFTER: Final = timedelta(days=7)
"""A detector that sees none of the drifts within this time is reported as blind."""
EVERY_DETECTOR: Final = "all detectors"
"""Name for all detectors of a version without a reference."""
MOST_REFERENCES: Final = 512
"""References whose growth is kept; some 60 KB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlookLine:
    """One detector of one version, or all of them where it has no reference.

    share
        Accepted false pages and notices in 30 days.
    per_day
        Requests a day at present that this detector compares.
    minimum_detectable
        Smallest effect seen within a day, in the detector's own unit; inf where blind.
    delays
        By drift and process; a drift that has no meaning here is left out.
    blind
        Why it sees nothing; None where it sees.
    only_tickets
        Why it cannot page now although it sees; None where it can.
    uncompared
        The share of the requests that it does not compare, and why; None where it is
        negligible. The delays are for the requests that it compares.
    days
        The assumed difference between days and its source; None where days were measured.
    """

    adapter: str
    version: str
    tier: str
    detector: str
    share: Share = field(default_factory=Share)
    per_day: float = 0.0
    minimum_detectable: float = np.inf
    delays: Mapping[tuple[Drift, Process], Delay] = field(default_factory=dict)
    blind: str | None = None
    only_tickets: str | None = None
    uncompared: str | None = None
    days: DayEffect | None = None

    @property
    def opens(self) -> Process:
        """The most urgent process that the detector can open now."""
        return Process.PAGE if self.only_tickets is None else Process.NOTICE

    @property
    def soonest(self) -> float:
        """Hours until the drift that it sees best is reported."""
        return min((delay.hours for delay in self.delays.values()), default=np.inf)

    @property
    def slowest(self) -> float:
        """Hours until 5 % of bad requests are reported with the most urgent process."""
        found = self.delays.get((Drift.BAD_REQUESTS, self.opens))
        return found.hours if found else np.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """A reference's growth for one detector, or the reason why there is none."""

    growth: Growth | None = None
    part: float = 1.0
    """Units per record of the baseline."""
    absent: str | None = None
    few_days: bool = False
    """Whether the reference saw too few days to page."""

    @property
    def days(self) -> DayEffect | None:
        """Return the day effect that is assumed."""
        unknown = self.growth.null.unknown if self.growth else None
        return unknown.effect if unknown else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The detectors' coverage of a version's newest requests; some detectors are blind."""

    coverage: Mapping[str, Coverage]
    blind: frozenset[str]

    @classmethod
    def of(cls, judged: VerdictRow | None, policy: PolicySettings) -> _Seen:
        seen = judged.memory.seen if judged else Seen()
        return cls(
            coverage={one.detector: one for one in seen.coverage()},
            blind=frozenset(one.detector for one in seen.blind(policy)),
        )

    def share(self, detector: str) -> float:
        """Return the compared share of the requests that the detector usually can use."""
        one = self.coverage.get(detector)
        if one is None or one.ratio is None or one.usual <= 0.0:
            return 1.0
        return min(1.0, one.ratio / one.usual)

    def said(self, line: OutlookLine) -> OutlookLine:
        """Say which requests the line does not cover, and whether they are too many."""
        one = self.coverage.get(line.detector)
        why = None if one is None else blind_share_words(one)
        if line.detector in self.blind:
            return replace(line, blind=why or line.blind)
        return replace(line, uncompared=why)


_OLDER: Final = _Known(absent="the reference is older than this check")


class Outlook:
    """Reads the outlook of the fleet. Safe to use from several threads: it keeps only a cache."""

    def __init__(
        self, settings: EvaluateSettings, cadences: Mapping[EvaluationKind, Cadence]
    ) -> None:
        self.settings = settings
        self._cadences = cadences
        self._kept: dict[ReferenceId, Mapping[str, _Known]] = {}
        self._lock = Lock()

    @property
    def live_interval(self) -> timedelta:
        """The length of a live detector's window; an onset is located no more exactly."""
        return self._cadences[EvaluationKind.LIVE].interval

    def rounds(self, tx: Connection, *, now: datetime) -> tuple[Round, ...]:
        """Return the rounds of routine probes of each engine, the most stretched first.

        An engine is shared, so the versions of every team count.
        """
        with teams.whole(tx):
            measured = probing.measured(tx, since=now - LONGEST)
        return plan_rounds(
            measured,
            share=self.settings.probe_share,
            wanted=self._cadences[EvaluationKind.PERPLEXITY].interval,
        )

    def probe_period(self, tx: Connection, version_id: VersionId, *, now: datetime) -> timedelta:
        """Return the interval of a version's routine probes, as planned for its engine."""
        for one in self.rounds(tx, now=now):
            if version_id in one.versions:
                return one.period
        return self._cadences[EvaluationKind.PERPLEXITY].interval

    def check_seconds(self, detector: str) -> float:
        """Return the length of a detector's window in seconds."""
        kind = EvaluationKind.HARD if DETECTORS[detector].hard else EvaluationKind.LIVE
        return self._cadences[kind].interval.total_seconds()

    def growths(self, tx: Connection, reference: Reference) -> Mapping[str, Growth]:
        """Return the growth of each detector that a reference carries."""
        known = self._known(tx, reference)
        return {name: one.growth for name, one in known.items() if one.growth is not None}

    def read(
        self, tx: Connection, *, now: datetime, adapter: str | None = None
    ) -> list[OutlookLine]:
        """Return every detector of every watched version, the blind ones first.

        It takes some 60 ms for a reference seen for the first time, 1 ms for others.
        """
        standings = watching.fleet(tx, now=now)
        asked = versions.fetch_all(tx) if adapter is None else versions.named(tx, adapter)
        known = {version.id: version for version in asked}
        chosen = [
            known[version_id]
            for version_id, standing in standings.items()
            if standing.watched and version_id in known
        ]
        rates = evaluations.daily_records(tx, [one.id for one in chosen], since=now - DAY)
        judged = {row.version_id: row for row in verdicts.fleet(tx)}
        lines = [
            line
            for version in chosen
            for line in self._of_version(
                tx,
                version,
                standings[version.id],
                per_day=rates.get(version.id, 0.0),
                seen=_Seen.of(judged.get(version.id), self.settings.policy),
            )
        ]
        lines += self._unlearned(tx, standings, now=now, adapter=adapter)
        return sorted(lines, key=_blind_first)

    def _unlearned(
        self,
        tx: Connection,
        standings: Mapping[VersionId, ShareStanding],
        *,
        now: datetime,
        adapter: str | None,
    ) -> Iterable[OutlookLine]:
        """Return one line, blind as a whole, for each version in charge without a reference."""
        one = None if adapter is None else fleet.adapter(tx, adapter, now=now)
        for row in fleet.fleet(tx, now=now) if adapter is None else filter(None, [one]):
            version = row.version
            if version is None or version.id in standings:
                continue
            yield OutlookLine(
                adapter=version.adapter,
                version=version.name,
                tier=row.adapter.tier,
                detector=EVERY_DETECTOR,
                blind="no reference yet",
            )

    def _of_version(
        self,
        tx: Connection,
        version: Version,
        standing: ShareStanding,
        *,
        per_day: float,
        seen: _Seen,
    ) -> Iterable[OutlookLine]:
        reference = references.current(tx, version.id)
        known = self._known(tx, reference) if reference else {}
        carried = {
            name: known[name].growth
            for name in self.settings.detectors
            if name in known and known[name].growth is not None
        }
        divided = shares(
            self.settings.budget,
            standing,
            detectors=carried,
            only_tickets={name for name in carried if known[name].few_days},
        )
        for name in self.settings.detectors:
            found = known.get(name, _OLDER)
            line = OutlookLine(
                adapter=version.adapter,
                version=version.name,
                tier=standing.tier,
                detector=name,
                blind=found.absent,
            )
            if found.growth is None or reference is None:
                yield seen.said(line)
            else:
                line = replace(
                    line,
                    share=divided[name],
                    per_day=_rounded(per_day * found.part * seen.share(name)),
                    only_tickets=_only_tickets(
                        name, reference, few_days=found.few_days, page=divided[name].page
                    ),
                    days=found.days,
                )
                yield seen.said(self._seeing(line, found.growth))

    def _seeing(self, line: OutlookLine, growth: Growth) -> OutlookLine:
        seconds = self.check_seconds(line.detector)
        least = minimum_detectable(
            growth.null,
            budget=Budget(notice=line.share.notice, page=line.share.page),
            units_per_day=line.per_day,
            check_seconds=seconds,
        )
        delays: dict[tuple[Drift, Process], Delay] = {}
        for drift in growth.moved:
            for process, share in (
                (Process.NOTICE, line.share.notice),
                (Process.PAGE, line.share.page),
            ):
                delay = expected_delay(
                    growth,
                    drift,
                    process,
                    share=share,
                    units_per_day=line.per_day,
                    check_seconds=seconds,
                )
                if delay is not None:
                    delays[drift, process] = delay
        seeing = replace(line, minimum_detectable=least, delays=delays)
        return replace(seeing, blind=_blind(seeing))

    def _known(self, tx: Connection, reference: Reference) -> Mapping[str, _Known]:
        with self._lock:
            kept = self._kept.get(reference.id)
        if kept is not None:
            return kept
        stored = calibrations.read(tx, reference.id)
        records = dict.fromkeys(stored, reference.n_baseline)
        older = references.details(tx, reference.id).request.get(FEEDBACK_OF)
        if older is not None:
            records[FEEDBACK.name] = older["records"]
        known = {
            name: _read(name, one, records=records[name], span_days=reference.span_days)
            for name, one in stored.items()
            if name in DETECTORS
        }
        with self._lock:
            while len(self._kept) >= MOST_REFERENCES:
                self._kept.pop(next(iter(self._kept)))
            self._kept[reference.id] = known
        return known


def _read(name: str, stored: calibrations.Calibration, *, records: int, span_days: float) -> _Known:
    if stored.body is None:
        return _Known(absent=stored.absent_reason or "not calibrated")
    fitted = DETECTORS[name].load(stored.body)
    growth = growth_of(fitted)
    if growth is None:
        return _Known(absent="it has no evidence process")
    units = float(growth.null.units.max())
    return _Known(
        growth=growth,
        part=min(1.0, units / max(1, records)),
        few_days=bool(saw_too_few_days({name: fitted}, span_days=span_days)),
    )


def _blind(line: OutlookLine) -> str | None:
    if line.per_day <= 0.0:
        return "no records in the last 24 hours"
    if line.share.notice <= 0.0 and line.share.page <= 0.0:
        return "it has no share of the budget"
    if line.soonest > BLIND_AFTER.total_seconds() / 3600.0:
        return (
            f"{line.per_day:,.0f} requests a day show none of these drifts within"
            f" {BLIND_AFTER.days} days"
        )
    return None


def _only_tickets(
    detector: str, reference: Reference, *, few_days: bool, page: float
) -> str | None:
    if not pages(detector):
        return "never pages"
    if few_days:
        return f"the reference has it of fewer than {FEWEST_WEEKDAYS} weekdays"
    if reference.replaced and not DETECTORS[detector].hard:
        return "the reference is being replaced"
    return None if page > 0.0 else "no false page of it is accepted"


def _rounded(per_day: float) -> float:
    """Round to two digits: tomorrow's traffic is not known more exactly."""
    return float(f"{per_day:.2g}")


def _blind_first(line: OutlookLine) -> tuple[bool, bool, float, str, str, str]:
    return (
        line.blind is None,
        line.only_tickets is None,
        -line.slowest,
        line.adapter,
        line.version,
        line.detector,
    )
