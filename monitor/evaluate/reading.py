"""What an evaluation reads before it computes: one short transaction, none open after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.feedback import FEEDBACK, Directions
from detectors.input_similarity import SIMILARITY
from detectors.output_similarity import OUTPUT_SIMILARITY
from detectors.types import Budget, Floats, State, Window
from monitor.domain import EvaluationKind, Interval, Reference, Version
from monitor.evaluate.calibrated import Calibrated, Calibrations
from monitor.evaluate.coverage import Requests
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import Facts, Memory, ReferenceStage
from monitor.policy.budget import Standing, shares
from monitor.store import (
    capture_counts,
    feedback,
    pending,
    processes,
    records,
    verdicts,
    versions,
    watching,
)
from monitor.store.feedback import Arrival, Unread
from monitor.store.records import RecordColumns, Traffic
from monitor.store.tasks import Claim
from monitor.strata import comparable, needed

INCREMENTS_KEPT = timedelta(days=7)
DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A version's window with all it is compared with."""

    version: Version
    calibrated: Calibrated | None
    memory: Memory
    states: Mapping[str, State]
    window: Window
    """What can be compared: NaN where a record's settings are not the reference's."""
    beside: tuple[Window, ...] = ()
    """What is compared with each reference that stands beside the one in force."""
    requests: Requests
    """All that arrived in the window, whether it can be compared or not."""
    traffic: Traffic
    """Of the last 24 h, up to now: a probe's window may have ended hours ago."""
    standing: Standing
    """Where the version stands among those that share the budget."""
    unread: Unread = field(default_factory=Unread)
    """Feedback that has come since the last window; the commit marks it as read."""
    feedback: Window | None = None
    """It as a window; None where it stands beside the records of the window itself."""

    def window_of(self, detector: str) -> Window:
        """Give the window that a detector reads."""
        own = self.feedback if detector == FEEDBACK.name else None
        return self.window if own is None else own


def read(
    tx: Connection,
    claim: Claim,
    window: Interval,
    *,
    calibrations: Calibrations,
    settings: EvaluateSettings,
    skipped: Sequence[Interval] = (),
) -> Reading:
    """Read what arrived in the window and the version's reference, states and memory.

    ``skipped`` windows were missed while nothing was evaluated.
    """
    version = versions.fetch_by_id(tx, claim.version_id)
    calibrated = calibrations.current(tx, version.id)
    reference_id = calibrated.reference.id if calibrated else None
    row = verdicts.current(tx, version_id=version.id)
    memory = Memory.from_json(row.memory) if row and row.memory else Memory()
    behind = capture_counts.any_backfilled(
        tx, adapter_id=version.adapter_id, start=window.start, end=window.end
    )
    columns = records.read_arrivals(
        tx,
        version_id=version.id,
        adapter_id=version.adapter_id,
        window=window,
        reach=records.LATEST if behind else records.PROMPT,
        reference_id=reference_id,
        answers=reads_answers(calibrated),
    )
    unread = Unread()
    if claim.kind is EvaluationKind.LIVE:
        unread = feedback.unread(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            window_end=window.end,
            now=claim.now,
        )
    return Reading(
        version=version,
        calibrated=calibrated,
        memory=memory.against(reference_id),
        states={}
        if calibrated is None
        else processes.states(tx, version_id=version.id, reference_id=calibrated.reference.id),
        window=comparable_window(columns, window, calibrated),
        beside=windows_beside(columns, window, calibrated),
        # older days are counted by one kind of look: each visits all of them
        requests=_requests(
            tx,
            version,
            columns,
            window,
            late=behind and claim.kind is EvaluationKind.LIVE,
            skipped=skipped,
        ),
        traffic=records.traffic(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            start=claim.now - DAY,
            end=claim.now,
            compared=None if calibrated is None else calibrated.strata,
            needs=frozenset() if calibrated is None else _needs(calibrated),
        ),
        standing=watching.standing(tx, version, now=claim.now),
        unread=unread,
        feedback=feedback_window(
            unread.arrivals,
            window,
            directions=settings.directions(version.adapter),
            calibrated=calibrated,
        ),
    )


def facts_of(
    reading: Reading,
    settings: EvaluateSettings,
    *,
    at: datetime,
    probe_available: bool,
    **found: object,
) -> Facts:
    """Put what was found (``detectors`` or ``perplexity``) beside what was read.

    With ``detectors`` goes what of the requests each of them compared: ``covered``.
    """
    stage = ReferenceStage.NONE
    if reading.calibrated is not None:
        stage = _stage(reading.calibrated.reference)
    horizon = at - settings.policy.recovery_window
    return Facts(
        at=at,
        reference=stage,
        n_day=reading.traffic.compared,
        traffic=reading.traffic.last_at is not None and reading.traffic.last_at >= horizon,
        probe_available=probe_available,
        reference_id=reading.calibrated.reference.id if reading.calibrated else None,
        classic=settings.is_classic(reading.version.adapter),
        enabled=frozenset(settings.detectors),
        **found,  # type: ignore[arg-type]  # detectors or perplexity, as Facts has them
    )


def _stage(reference: Reference) -> ReferenceStage:
    if reference.replaced:
        return ReferenceStage.REPLACED
    return ReferenceStage.PROVISIONAL if reference.provisional else ReferenceStage.APPROVED


def budget_of(reading: Reading, settings: EvaluateSettings, detector: str) -> Budget:
    """Give one detector of this version its share."""
    calibrated = reading.calibrated
    carried = calibrated.by_detector if calibrated else {}
    share = shares(
        settings.budget,
        reading.standing,
        detectors=[name for name in settings.detectors if name in carried],
        only_tickets=calibrated.only_tickets if calibrated else frozenset(),
    )[detector]
    return Budget(notice=share.notice, page=share.page)


def reads_answers(calibrated: Calibrated | None) -> bool:
    """Whether what answers talk of is compared at all."""
    return calibrated is not None and OUTPUT_SIMILARITY.name in calibrated.by_detector


def _needs(calibrated: Calibrated) -> frozenset[str]:
    return needed(signal for name in calibrated.by_detector for signal in DETECTORS[name].signals)


def _requests(
    tx: Connection,
    version: Version,
    columns: RecordColumns,
    window: Interval,
    *,
    late: bool,
    skipped: Sequence[Interval],
) -> Requests:
    own, adapter = version.id, version.adapter_id
    n_late = 0
    if late:
        n_late = records.count_arrivals(
            tx,
            version_id=own,
            adapter_id=adapter,
            window=window,
            made_before=window.start - records.LATEST,
        )
    return Requests(
        signals=columns.signals,
        strata=columns.strata,
        skipped=sum(
            records.count_arrivals(tx, version_id=own, adapter_id=adapter, window=one)
            for one in _joined(skipped)
        ),
        late=n_late,
        waiting=pending.waiting(tx, version_id=own, adapter_id=adapter, window=window)
        if np.isnan(columns.signals[SIMILARITY]).any()
        else 0,
    )


def _joined(skipped: Sequence[Interval]) -> list[Interval]:
    """Windows that follow each other as one."""
    if not skipped:
        return []
    return [Interval(start=skipped[0].start, end=skipped[-1].end)]


def feedback_window(
    arrivals: Sequence[Arrival],
    interval: Interval,
    *,
    directions: Directions,
    calibrated: Calibrated | None,
) -> Window:
    """Lay feedback out as the signals of a window, less what is said of the reference's records."""
    signals = directions.signals
    given = feedback.laid_out(
        arrivals,
        names=list(signals),
        since=calibrated.feedback_from if calibrated else None,
    )
    return Window(
        start=interval.start.timestamp(),
        end=interval.end.timestamp(),
        at=given.at,
        signals={signals[name]: values for name, values in given.values.items()},
        subjects=given.subjects,
        entered=given.entered,
    )


def comparable_window(
    columns: RecordColumns, interval: Interval, calibrated: Calibrated | None
) -> Window:
    """Give what of the records may be compared with the reference in force."""
    signals = columns.signals
    if calibrated is not None:
        signals = comparable(signals, columns.strata, calibrated.reference.strata)
    return _cut(columns, signals, interval)


def windows_beside(
    columns: RecordColumns, interval: Interval, calibrated: Calibrated | None
) -> tuple[Window, ...]:
    """Give each reference beside the one in force what no other is compared with."""
    if calibrated is None:
        return ()
    return tuple(
        _cut(columns, _own(columns, calibrated, number), interval)
        for number in range(len(calibrated.beside))
    )


def _own(columns: RecordColumns, calibrated: Calibrated, number: int) -> dict[str, Floats]:
    """Leave to one reference beside what neither that in force nor an earlier one compares."""
    one = calibrated.beside[number]
    found: dict[str, Floats] = {}
    for detector in one.by_detector:
        taken = [
            stratum
            for earlier in calibrated.beside[:number]
            if detector in earlier.by_detector
            for stratum in earlier.strata
        ]
        signals = {name: columns.signals[name] for name in DETECTORS[detector].signals}
        found |= comparable(
            signals, columns.strata, one.strata, but=(*calibrated.reference.strata, *taken)
        )
    return found


def _cut(columns: RecordColumns, signals: Mapping[str, Floats], interval: Interval) -> Window:
    return Window(
        start=interval.start.timestamp(),
        end=interval.end.timestamp(),
        at=columns.at,
        signals=signals,
        subjects=columns.subjects,
        entered=columns.arrived,
    )
