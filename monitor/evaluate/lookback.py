"""The history before a window, read from the store when first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from detectors.types import Window
from monitor.domain import Interval
from monitor.evaluate.layout import (
    comparable_window,
    feedback_window,
    windows_beside,
)
from monitor.evaluate.reading import INCREMENTS_KEPT, Reading
from monitor.evaluate.settings import EvaluateSettings, reads_answers
from monitor.policy.facts import Increment
from monitor.store.database import Database
from monitor.store.evaluation import processes
from monitor.store.records import feedback, records
from monitor.store.records.columns import RecordColumns


class StoredLookback:
    """The newest records and increments of a version, read when first needed."""

    def __init__(self, database: Database, reading: Reading, settings: EvaluateSettings) -> None:
        self._database = database
        self._reading = reading
        self._settings = settings
        end = reading.interval.end
        self._span = Interval(start=end - settings.effect_window, end=end)

    @cached_property
    def recent(self) -> Window:
        """Newest records up to the window's end, over at most the effect window."""
        return comparable_window(self._newest, self._span, self._reading.calibrated)

    @cached_property
    def recent_beside(self) -> Sequence[Window]:
        """The newest records to compare with each reference beside the one in force."""
        return windows_beside(self._newest, self._span, self._reading.calibrated)

    @cached_property
    def _newest(self) -> RecordColumns:
        reading = self._reading
        carried = reading.calibrated.by_detector if reading.calibrated else {}
        return self._database.run(
            lambda tx: records.newest_since(
                tx,
                version_id=reading.version.id,
                adapter_id=reading.version.adapter_id,
                since=self._span.start,
                limit=self._settings.effect_records,
                reference_id=reading.calibrated.reference.id if reading.calibrated else None,
                answers=reads_answers(carried),
            )
        )

    @cached_property
    def feedback(self) -> Window:
        """Feedback that came within the effect window: read earlier, and new."""
        reading = self._reading
        before = self._database.run(
            lambda tx: feedback.recent(
                tx,
                version_id=reading.version.id,
                since=self._span.start,
                most=self._settings.effect_records,
            )
        )
        return feedback_window(
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
