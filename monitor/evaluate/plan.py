"""The smallest fault of each kind that an adapter's own baseline would show, by time.

:mod:`monitor.evaluate.outlook` computes how soon a fault of a given size is seen. This
module computes the inverse: the smallest fault that is seen within an hour, a day, a week.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.expected_delay import Growth
from detectors.faults import Family, Unit
from detectors.perplexity import CHANGED_FLOORS, MARGIN
from detectors.smallest_seen import Movable, movable, smallest_seen
from detectors.types import Process
from monitor.domain import EvaluationKind, Reference, ReferenceId, Version
from monitor.evaluate.faults import families_of
from monitor.evaluate.outlook import BLIND_AFTER, Outlook, OutlookLine
from monitor.policy.budget import Share
from monitor.store.evaluation import evaluations
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.references import calibrations, references
from monitor.store.registry import versions

HOUR: Final = timedelta(hours=1)
TIMES: Final = (HOUR, timedelta(days=1), timedelta(days=7))
MOST_KEPT: Final = 2_048
"""Cached answers, one per detector of a reference."""

Sizes = tuple[float | None, ...]
"""Sizes for each of ``TIMES``; None: no fault of this kind is seen within that time."""
_NOTHING: Final[Sizes] = (None,) * len(TIMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One kind of fault, as one version would see it.

    ticket, page
        The smallest size reported so within each time, in ``unit``.
    per_day
        Requests a day that are compared; None for a probe, which needs none.
    note
        Why it sees nothing, or opens no page, or which requests it does not cover.
    """

    adapter: str
    version: str
    detector: str
    words: str
    unit: Unit
    ticket: Sizes = _NOTHING
    page: Sizes = _NOTHING
    per_day: float | None = None
    note: str | None = None

    @property
    def seeing(self) -> bool:
        """Whether a fault of this kind, of any size, is reported within a week."""
        return any(size is not None for size in self.ticket + self.page)


class Plans:
    """Reads plans; keeps only a cache, as :class:`Outlook`, and is as safe to share."""

    def __init__(self, outlook: Outlook) -> None:
        self.outlook = outlook
        self._kept: dict[tuple[ReferenceId, str, Share, float], tuple[Planned, ...]] = {}
        self._lock = Lock()

    def read(
        self, tx: Connection, adapter: str, *, now: datetime, version: str | None = None
    ) -> list[Planned]:
        """Return every kind of fault of the adapter's watched versions, or of one of them.

        It takes some .3 s for a reference seen for the first time, 5 ms for others.
        """
        lines = [
            line
            for line in self.outlook.read(tx, now=now, adapter=adapter)
            if version in {None, line.version}
        ]
        by_version: dict[str, list[OutlookLine]] = {}
        for line in lines:
            by_version.setdefault(line.version, []).append(line)
        found: list[Planned] = []
        for name, of_version in by_version.items():
            known = versions.fetch(tx, adapter=adapter, name=name)
            if known is not None:
                found += self._of_version(tx, known, of_version, now=now)
        return found

    def _of_version(
        self, tx: Connection, version: Version, lines: Sequence[OutlookLine], *, now: datetime
    ) -> Iterator[Planned]:
        reference = references.current(tx, version.id)
        growths = self.outlook.growths(tx, reference) if reference else {}
        for line in sorted(
            lines,
            key=lambda one: (
                list(DETECTORS).index(one.detector) if one.detector in DETECTORS else -1
            ),
        ):
            growth = growths.get(line.detector)
            if reference is None or growth is None or _promises_nothing(line):
                yield replace(_blank(version, line.detector), note=line.blind)
                continue
            for one in self._answers(tx, version, reference, line, growth):
                told = replace(one, page=_NOTHING) if line.only_tickets else one
                nothing = None if told.seeing else "no size of it within a week"
                yield replace(told, note=line.only_tickets or line.uncompared or nothing)
        yield self._probed(tx, version, now=now)

    def _answers(
        self,
        tx: Connection,
        version: Version,
        reference: Reference,
        line: OutlookLine,
        growth: Growth,
    ) -> tuple[Planned, ...]:
        asked = (reference.id, line.detector, line.share, line.per_day)
        with self._lock:
            kept = self._kept.get(asked)
        if kept is None:
            blank = replace(_blank(version, line.detector), per_day=line.per_day)
            kept = tuple(self._worked_out(tx, reference, line, growth, blank))
            with self._lock:
                while len(self._kept) >= MOST_KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[asked] = kept
        return kept

    def _worked_out(
        self,
        tx: Connection,
        reference: Reference,
        line: OutlookLine,
        growth: Growth,
        blank: Planned,
    ) -> Iterator[Planned]:
        body = calibrations.read(tx, reference.id)[line.detector].body
        if body is None:
            return
        fitted = DETECTORS[line.detector].load(body)
        for family in families_of(line.detector, fitted):
            moved = movable(fitted, growth, family.fault)
            if moved is not None:
                yield replace(
                    blank,
                    words=family.words,
                    unit=family.unit,
                    ticket=self._sizes(line, family, moved, Process.NOTICE),
                    page=self._sizes(line, family, moved, Process.PAGE),
                )

    def _sizes(self, line: OutlookLine, family: Family, moved: Movable, process: Process) -> Sizes:
        found = smallest_seen(
            moved,
            process,
            share=line.share.page if process is Process.PAGE else line.share.notice,
            units_per_day=line.per_day,
            check_seconds=self.outlook.check_seconds(line.detector),
            hours=[time / HOUR for time in TIMES],
        )
        return tuple(None if size is None else family.told(size, moved.sd) for size in found)

    def _probed(self, tx: Connection, version: Version, *, now: datetime) -> Planned:
        """Return the faults that routine probes of the fixed corpora would show."""
        blank = replace(
            _blank(version, EvaluationKind.PERPLEXITY.value),
            words="perplexity of the fixed corpora",
            unit=Unit.RATIO,
        )
        score = _newest_probe(tx, version)
        if score is None:
            return replace(blank, note="no probe has compared it yet")
        period = self.outlook.probe_period(tx, version.id, now=now)
        probes = [int(time / period) for time in TIMES]
        return replace(
            blank,
            ticket=tuple(_changed_rise(score, probes=each) for each in probes),
            page=tuple(_degraded_rise(score, probes=each) for each in probes),
            note=f"probed every {period / HOUR:.3g} h, sooner on suspicion",
        )


def _blank(version: Version, detector: str) -> Planned:
    return Planned(
        adapter=version.adapter,
        version=version.name,
        detector=detector,
        words=detector,
        unit=Unit.SD,
    )


def _promises_nothing(line: OutlookLine) -> bool:
    """Whether the detector is blind for a reason other than its slowness with small faults."""
    takes_long = line.soonest > BLIND_AFTER / HOUR
    return line.blind is not None and not (takes_long and line.per_day > 0.0)


def _newest_probe(tx: Connection, version: Version) -> ScoreRow | None:
    for score in evaluations.latest_scores_of(tx, adapter_id=version.adapter_id):
        if score.version_id == version.id and score.detector == EvaluationKind.PERPLEXITY.value:
            return score if score.n_window and "noise_floor" in score.details else None
    return None


def _changed_rise(score: ScoreRow, *, probes: int) -> float | None:
    """The rise, common to all documents, at which each moves beyond 4 noise floors."""
    return math.expm1(CHANGED_FLOORS * float(score.details["noise_floor"])) if probes else None


def _degraded_rise(score: ScoreRow, *, probes: int) -> float | None:
    """The rise whose 95 % interval lies above 5 %; with two probes, the one whose middle does."""
    half = (score.effect_high - score.effect_low) / 2.0
    if not probes or not math.isfinite(half):
        return None
    return MARGIN + half if probes == 1 else max(MARGIN, half)
