"""Read what an evaluation computes with: one short transaction, none open after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.feedback import Directions
from detectors.input_similarity import SIMILARITY
from detectors.output_similarity import OUTPUT_SIMILARITY
from detectors.types import Floats, Window
from monitor.domain import Arrival, EvaluationKind, Interval, Unread, Version
from monitor.evaluate.calibrated import Calibrated
from monitor.evaluate.coverage import Requests
from monitor.evaluate.loading import Calibrations
from monitor.evaluate.reading import DAY, INCREMENTS_KEPT, Reading
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import Memory
from monitor.policy.facts import Increment
from monitor.store import (
    capture_counts,
    feedback,
    pending,
    processes,
    records,
    routes,
    tasks,
    verdicts,
    versions,
    watching,
)
from monitor.store.database import Database
from monitor.store.records import RecordColumns
from monitor.store.tasks import Awaited, Claim
from monitor.strata import comparable, needed


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
    memory = memory.against(reference_id)
    is_live = claim.kind is EvaluationKind.LIVE
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
        answers=_reads_answers(calibrated),
    )
    unread = Unread()
    if is_live:
        unread = feedback.unread(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            window_end=window.end,
            now=claim.now,
        )
    awaited = Awaited()
    if memory.unmeasured_since is not None or memory.doubted:
        awaited = tasks.awaited(tx, version_id=version.id, kind=EvaluationKind.PERPLEXITY)
    return Reading(
        version=version,
        interval=window,
        calibrated=calibrated,
        memory=memory,
        states={}
        if reference_id is None
        else processes.states(tx, version_id=version.id, reference_id=reference_id),
        window=_comparable_window(columns, window, calibrated),
        beside=_windows_beside(columns, window, calibrated),
        # older days are counted by one kind of look: each visits all of them
        requests=_requests(tx, version, columns, window, late=behind and is_live, skipped=skipped),
        traffic=records.traffic(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            start=claim.now - DAY,
            end=claim.now,
            compared=None if calibrated is None else calibrated.strata,
            needs=needed(
                signal
                for name in (calibrated.by_detector if calibrated else ())
                for signal in DETECTORS[name].signals
            ),
        ),
        standing=watching.standing(tx, version, now=claim.now),
        unread=unread,
        feedback=_feedback_window(
            unread.arrivals,
            window,
            directions=settings.directions(version.adapter),
            calibrated=calibrated,
        ),
        route=routes.get(tx, version.adapter),
        probe_due=awaited.due,
        probe_stopped=awaited.stopped,
    )


class StoredLookback:
    """The newest records and increments of a version, read when first asked for."""

    def __init__(self, database: Database, reading: Reading, settings: EvaluateSettings) -> None:
        self._database = database
        self._reading = reading
        self._settings = settings
        end = reading.interval.end
        self._span = Interval(start=end - settings.effect_window, end=end)

    @cached_property
    def recent(self) -> Window:
        """Newest records up to the window's end, over at most the effect window."""
        return _comparable_window(self._newest, self._span, self._reading.calibrated)

    @cached_property
    def recent_beside(self) -> Sequence[Window]:
        """The same of what is compared with each reference beside the one in force."""
        return _windows_beside(self._newest, self._span, self._reading.calibrated)

    @cached_property
    def _newest(self) -> RecordColumns:
        reading = self._reading
        return self._database.run(
            lambda tx: records.newest_since(
                tx,
                version_id=reading.version.id,
                adapter_id=reading.version.adapter_id,
                since=self._span.start,
                limit=self._settings.effect_records,
                reference_id=reading.calibrated.reference.id if reading.calibrated else None,
                answers=_reads_answers(reading.calibrated),
            )
        )

    @cached_property
    def feedback(self) -> Window:
        """Feedback that came within the effect window: what was read before, and now."""
        reading = self._reading
        before = self._database.run(
            lambda tx: feedback.recent(
                tx,
                version_id=reading.version.id,
                since=self._span.start,
                most=self._settings.effect_records,
            )
        )
        return _feedback_window(
            [*before, *reading.unread.arrivals],
            self._span,
            directions=self._settings.directions(reading.version.adapter),
            calibrated=reading.calibrated,
        )

    def past(self, detector: str) -> Sequence[Increment]:
        """Increments of this reference's windows of the last 7 days, oldest first."""
        reading = self._reading
        if reading.calibrated is None:
            return []
        reference_id = reading.calibrated.reference.id
        return self._database.run(
            lambda tx: processes.history(
                tx,
                version_id=reading.version.id,
                reference_id=reference_id,
                detector=detector,
                since=reading.interval.end - INCREMENTS_KEPT,
            )
        )


def _reads_answers(calibrated: Calibrated | None) -> bool:
    """Whether what answers talk of is compared at all."""
    return calibrated is not None and OUTPUT_SIMILARITY.name in calibrated.by_detector


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
    n_late = n_skipped = waiting = 0
    if late:
        n_late = records.count_arrivals(
            tx,
            version_id=own,
            adapter_id=adapter,
            window=window,
            made_before=window.start - records.LATEST,
        )
    if skipped:  # windows that follow each other, counted as one
        missed = Interval(start=skipped[0].start, end=skipped[-1].end)
        n_skipped = records.count_arrivals(tx, version_id=own, adapter_id=adapter, window=missed)
    if np.isnan(columns.signals[SIMILARITY]).any():
        waiting = pending.waiting(tx, version_id=own, adapter_id=adapter, window=window)
    return Requests(
        signals=columns.signals,
        strata=columns.strata,
        skipped=n_skipped,
        late=n_late,
        waiting=waiting,
    )


def _feedback_window(
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


def _comparable_window(
    columns: RecordColumns, interval: Interval, calibrated: Calibrated | None
) -> Window:
    """Give what of the records may be compared with the reference in force."""
    signals = columns.signals
    if calibrated is not None:
        signals = comparable(signals, columns.strata, calibrated.reference.strata)
    return _cut(columns, signals, interval)


def _windows_beside(
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
