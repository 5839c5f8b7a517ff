"""Learn references for new settings, beside the one in force, automatically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.day_effect import ASSUMED, DayEffect
from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.signals import SAMPLING, needed
from detectors.types import Window
from monitor.domain import EvaluationKind, Interval, Reference, VerdictSeverity, Version, VersionId
from monitor.policy.coverage import LEAST_SHARE, Cause
from monitor.reference import fleet_days
from monitor.reference.calibrate import COVERED_DAYS, SMALLEST_BASELINE, span_of
from monitor.reference.learned import AGAIN_AFTER, LearnedSettings
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.errors import Conflict
from monitor.store.evaluation import verdicts
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.records import counting, records
from monitor.store.references import calibrations, references, settings_references
from monitor.store.references.calibrations import Calibration
from monitor.store.references.settings_references import SettingsReference
from monitor.store.registry import versions as registry
from monitor.strata import alike, settings, words

AGAIN_AFTER_FAILURE: Final = timedelta(hours=1)

_DAY: Final = timedelta(days=1)
_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSettings:
    """Settings in a version's records that its reference lacks."""

    strata: tuple[str, ...]
    records: int
    span: Interval
    """From the first of these records to the end of the last evaluation."""
    share: float
    """Their share of the last day's requests."""

    @property
    def text(self) -> str:
        """All settings in words."""
        return words(self.strata[0])


@dataclass(slots=True, eq=False)
class SettingsLearner:
    """Learns references for new settings that are used often enough.

    Call ``turn`` about every minute. It reads nothing for versions whose evaluations set no record
    aside for its settings and that have no young learned reference; a failed attempt is retried an
    hour later.
    """

    database: Database
    _: KW_ONLY
    rules: LearnedSettings
    days: DayEffect = ASSUMED
    _not_before: dict[tuple[VersionId, tuple[str, ...]], datetime] = field(
        default_factory=dict, init=False
    )

    def turn(self, *, now: datetime) -> list[str]:
        """Learn all due settings, and return them: ``support@v7: temperature 0.7``."""
        rows, young = self.database.run(
            lambda tx: (verdicts.fleet(tx), settings_references.shorter(tx, days=COVERED_DAYS))
        )
        rows = [row for row in rows if _is_well(row)]
        rows = [row for row in rows if row.version_id in young or _sets_aside(row)]
        return [
            label
            for row in rows
            for label in self.database.run(lambda tx, row=row: self._learn(tx, row, now=now))  # type: ignore[misc]  # a default argument
        ]

    def learn_now(self, tx: Connection, version: Version, *, now: datetime) -> list[str]:
        """Learn on a person's request, from as few records as a detector accepts.

        Raises
        ------
        Conflict
            The version has a finding, which must not become normal by this.
        """
        row = verdicts.current(tx, version_id=version.id)
        if row is not None and not _is_well(row):
            raise Conflict(
                f"{version.label} is {row.verdict.kind.value}: what is wrong would become normal;"
                " end its incident first"
            )
        until = _evaluated_until(row) or now
        found = wanted(tx, version, now=now, until=until, rules=self.rules)
        enough = [one for one in found if one.records >= SMALLEST_BASELINE]
        return self._make(tx, version, enough, now=now)

    def _learn(self, tx: Connection, row: VerdictRow, *, now: datetime) -> list[str]:
        version = registry.fetch_by_id(tx, row.version_id)
        until = _evaluated_until(row) or now
        found = [
            one
            for one in wanted(tx, version, now=now, until=until, rules=self.rules)
            if one.records >= self.rules.least and self._in_turn(version, one, now=now)
        ]
        return self._make(tx, version, found, now=now)

    def _make(
        self, tx: Connection, version: Version, found: Sequence[NewSettings], *, now: datetime
    ) -> list[str]:
        if not found:
            return []
        registry.lock(tx, version.id)  # one learner at a time, and no new generation meanwhile
        reference = references.current(tx, version.id)
        if reference is None:
            return []
        return [
            f"{version.label}: {one.text}"
            for one in found
            if self._freeze(tx, version, reference, one, now=now)
        ]

    def _in_turn(self, version: Version, one: NewSettings, *, now: datetime) -> bool:
        return now >= self._not_before.get((version.id, one.strata), now)

    def _freeze(
        self,
        tx: Connection,
        version: Version,
        reference: Reference,
        one: NewSettings,
        *,
        now: datetime,
    ) -> bool:
        window = _window(tx, version, reference, one)
        fitted = _fitted(
            window,
            carried=calibrations.read(tx, reference.id),
            days=fleet_days.read(tx, besides=version.adapter_id, assumed=self.days),
        )
        if not fitted:
            self._not_before[version.id, one.strata] = now + AGAIN_AFTER_FAILURE
            return False
        settings_references.insert(
            tx,
            version_id=version.id,
            reference_id=reference.id,
            strata=one.strata,
            n_baseline=len(window),
            span_days=span_of(window).days,
            calibrations=fitted,
        )
        audit.append(
            tx,
            actor="driftline",
            act="reference.settings",
            subject=version.label,
            details={
                "generation": reference.generation,
                "cause": f"{one.share:.0%} of the day's requests use {one.text}:"
                f" learned from {len(window):,}",
            },
        )
        _LOG.info("settings_learned", version=version.label, settings=one.text, records=len(window))
        return True


def wanted(
    tx: Connection, version: Version, *, now: datetime, until: datetime, rules: LearnedSettings
) -> list[NewSettings]:
    """Find settings of more than 5 % of a day's requests without a reference in force.

    The most used first, with their record counts: fewer than ``rules.least`` are not learned from
    yet. Settings whose reference spans at most half as many days are included again.
    """
    reference = references.current(tx, version.id)
    if reference is None:
        return []
    since = now - rules.lookback
    of_day = _by_settings(_counts(tx, version, start=max(since, now - _DAY), end=until), reference)
    whole = sum(of_day.values())
    used = {strata: n for strata, n in of_day.items() if n > LEAST_SHARE * whole and strata != ()}
    if not used:
        return []
    beside = {one.strata: one for one in settings_references.beside(tx, reference.id)}
    found = []
    for strata, n in used.items():
        gathered = counting.of_settings(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            strata=strata,
            start=since,
            end=until,
        )
        one = NewSettings(
            strata=strata,
            records=gathered.count,
            span=Interval(start=gathered.first_at or until, end=until),
            share=n / whole,
        )
        if strata not in beside or _worth_renewing(beside[strata], one, now=now):
            found.append(one)
    return sorted(found, key=lambda one: one.records, reverse=True)


def _is_well(row: VerdictRow) -> bool:
    """True if nothing is wrong: a finding must not become the reference."""
    return row.verdict.severity is VerdictSeverity.NONE and not row.verdict.detectors


def _sets_aside(row: VerdictRow) -> bool:
    return any(why.cause is Cause.SETTINGS for why in row.memory.seen.since)


def _by_settings(counts: Mapping[str, int], reference: Reference) -> dict[tuple[str, ...], int]:
    """Sum records by their settings; ``()`` stands for the reference's own."""
    named: dict[tuple[tuple[str, str], ...], list[str]] = {}
    own = 0
    for stratum, n in sorted(counts.items()):
        if alike(stratum, reference.strata, SAMPLING):
            own += n
        else:
            named.setdefault(tuple(sorted(settings(stratum).items())), []).append(stratum)
    return {(): own} | {tuple(strata): sum(counts[s] for s in strata) for strata in named.values()}


def _worth_renewing(one: SettingsReference, found: NewSettings, *, now: datetime) -> bool:
    """True if the records now span twice as many days, as for a version's first reference."""
    days = (found.span.end - found.span.start) / _DAY
    short = one.span_days < COVERED_DAYS
    return short and now - one.created_at >= AGAIN_AFTER and days >= 2.0 * one.span_days


def _window(tx: Connection, version: Version, reference: Reference, one: NewSettings) -> Window:
    columns = records.read_window(
        tx,
        version_id=version.id,
        adapter_id=version.adapter_id,
        start=one.span.start,
        end=one.span.end,
        strata=one.strata,
        received_before=one.span.end,
        reference_id=reference.id,
        answers=True,
    )
    return Window(
        start=one.span.start.timestamp(),
        end=one.span.end.timestamp(),
        at=columns.at,
        signals=columns.signals,
        subjects=columns.subjects,
    )


def _fitted(
    window: Window, *, carried: Mapping[str, Calibration], days: Mapping[str, DayEffect]
) -> dict[str, bytes]:
    """Fit the detectors that depend on the settings and that the reference has.

    Only with exactly the scores that it has there: others would add nothing to its process.
    """
    found = {}
    for name, detector in DETECTORS.items():
        own = carried.get(name)
        if own is None or own.body is None or not needed(detector.signals):
            continue
        try:
            fitted = detector.fit(window, days=days.get(name, ASSUMED))
        except (ReferenceTooSmall, SignalAbsent):
            continue
        if detector.names(fitted) == detector.names(detector.load(own.body)):
            found[name] = detector.dump(fitted)
    return found


def _evaluated_until(row: VerdictRow | None) -> datetime | None:
    """Return the end of the newest live window: later arrivals are evidence."""
    windows = row.memory.seen.windows.get(EvaluationKind.LIVE) if row is not None else None
    return windows[-1].end if windows else None


def _counts(tx: Connection, version: Version, *, start: datetime, end: datetime) -> dict[str, int]:
    return counting.strata(
        tx, version_id=version.id, adapter_id=version.adapter_id, start=start, end=end
    )
