"""References of settings that appear anew: learned beside the one in force, by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.types import Window
from monitor.domain import Interval, Reference, Version
from monitor.policy.coverage import Cause
from monitor.reference.calibrate import COVERED_DAYS, span_of
from monitor.reference.learned import AGAIN_AFTER, LearnedSettings
from monitor.store import audit, calibrations, records, references, settings_references, verdicts
from monitor.store import versions as registry
from monitor.store.database import Database
from monitor.store.settings_references import SettingsReference
from monitor.store.verdicts import VerdictRow
from monitor.strata import SAMPLING, alike, needed, settings, words

LEAST_SHARE: Final = 0.05
"""Settings that fewer of a day's requests have get no reference of their own."""

_DAY: Final = timedelta(days=1)
_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSettings:
    """Settings that a version's reference has not, as its records have them."""

    strata: tuple[str, ...]
    records: int
    share: float
    """Of the last day's requests."""

    @property
    def text(self) -> str:
        """All of them in words."""
        return words(self.strata[0])


def learn_settings(
    database: Database, *, now: datetime, rules: LearnedSettings | None = None
) -> list[str]:
    """Learn what answers are like under settings that came anew and are used enough.

    Call it every minute or so, and again once what was learned covers a fortnight. Of versions
    whose evaluations set nothing aside for its settings nothing is read. Gives what was learned,
    ``support@v7: temperature 0.7``.
    """
    chosen = rules or LearnedSettings()
    wanting = [row for row in database.run(verdicts.fleet) if _sets_aside(row)]
    return [
        label
        for row in wanting
        for label in database.run(lambda tx, row=row: _learn(tx, row, now=now, rules=chosen))  # type: ignore[misc]  # a default argument
    ]


def new_settings(
    tx: Connection, version: Version, known: tuple[str, ...], *, since: datetime, now: datetime
) -> list[NewSettings]:
    """Count a version's records of settings that none of the known are, the most used first."""
    of_day = _counts(tx, version, start=max(since, now - _DAY), end=now)
    day = max(sum(of_day.values()), 1)
    by_settings: dict[tuple[tuple[str, str], ...], list[str]] = {}
    counts = _counts(tx, version, start=since, end=now)
    for stratum in sorted(counts):
        if not alike(stratum, known, SAMPLING):
            by_settings.setdefault(tuple(sorted(settings(stratum).items())), []).append(stratum)
    found = [
        NewSettings(
            strata=tuple(strata),
            records=sum(counts[one] for one in strata),
            share=sum(of_day.get(one, 0) for one in strata) / day,
        )
        for strata in by_settings.values()
    ]
    return sorted(found, key=lambda one: one.records, reverse=True)


def _sets_aside(row: VerdictRow) -> bool:
    seen = row.memory.get("seen") or {}
    return any(cause == Cause.SETTINGS for cause, *_ in seen.get("since", ()))


def _learn(tx: Connection, row: VerdictRow, *, now: datetime, rules: LearnedSettings) -> list[str]:
    version = registry.fetch_by_id(tx, row.version_id)
    reference = references.current(tx, version.id)
    if reference is None:
        return []
    registry.lock(tx, version.id)  # one learner at a time
    beside = settings_references.beside(tx, reference.id)
    young = [one for one in beside if not _worth_renewing(one, row, now=now)]
    known = (*reference.strata, *(s for one in young for s in one.strata))
    until = _evaluated_until(row) or now
    span = Interval(start=now - rules.lookback, end=until)
    found = new_settings(tx, version, known, since=span.start, now=until)
    return [
        f"{version.label}: {one.text}"
        for one in found
        if one.records >= rules.least and one.share > LEAST_SHARE
        if _freeze(tx, version, reference, one, span)
    ]


def _worth_renewing(one: SettingsReference, row: VerdictRow, *, now: datetime) -> bool:
    """Whether a fortnight of records may take the place of fewer days: not while it drifts."""
    age = now - one.created_at
    quiet = not row.verdict.detectors
    short = one.span_days < COVERED_DAYS
    return short and quiet and age >= max(AGAIN_AFTER, timedelta(days=COVERED_DAYS - one.span_days))


def _freeze(
    tx: Connection, version: Version, reference: Reference, wanted: NewSettings, span: Interval
) -> bool:
    columns = records.read_window(
        tx,
        version_id=version.id,
        adapter_id=version.adapter_id,
        start=span.start,
        end=span.end,
        strata=wanted.strata,
        received_before=span.end,
        reference_id=reference.id,
        answers=True,
    )
    window = Window(
        start=float(columns.at[0]),
        end=span.end.timestamp(),
        at=columns.at,
        signals=columns.signals,
        subjects=columns.subjects,
    )
    fitted = _fitted(window, carried=calibrations.read(tx, reference.id))
    if not fitted:
        return False
    settings_references.insert(
        tx,
        version_id=version.id,
        reference_id=reference.id,
        strata=wanted.strata,
        n_baseline=len(columns),
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
            "cause": f"{wanted.share:.0%} of the day's requests use {wanted.text}:"
            f" learned from {len(columns):,}",
        },
    )
    _LOG.info("settings_learned", version=version.label, settings=wanted.text, records=len(columns))
    return True


def _fitted(window: Window, *, carried: Mapping[str, calibrations.Calibration]) -> dict[str, bytes]:
    """Fit the detectors that the settings matter to, of those that the reference carries."""
    found = {}
    for name, detector in DETECTORS.items():
        own = carried.get(name)
        if own is None or own.body is None or not needed(detector.signals):
            continue
        try:
            found[name] = detector.dump(detector.fit(window))
        except (ReferenceTooSmall, SignalAbsent):
            continue
    return found


def _evaluated_until(row: VerdictRow) -> datetime | None:
    """Give the end of the newest live window: what arrives later is evidence."""
    windows = row.memory["seen"]["windows"].get("live") or []
    return datetime.fromisoformat(windows[-1]["end"]) if windows else None


def _counts(tx: Connection, version: Version, *, start: datetime, end: datetime) -> dict[str, int]:
    return records.strata(
        tx, version_id=version.id, adapter_id=version.adapter_id, start=start, end=end
    )
