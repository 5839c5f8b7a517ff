"""What came before a window, asked only where it matters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from sqlalchemy import Connection

from detectors.types import Window
from monitor.domain import Interval
from monitor.evaluate.reading import (
    INCREMENTS_KEPT,
    Reading,
    comparable_window,
    feedback_window,
    reads_answers,
    windows_beside,
)
from monitor.evaluate.settings import EvaluateSettings
from monitor.store import feedback, processes, records
from monitor.store.database import Database
from monitor.store.processes import Increment
from monitor.store.records import RecordColumns


class Lookback(Protocol):
    """What came before a window; asked only where it matters."""

    @property
    def recent(self) -> Window:
        """Newest records up to now, over at most the effect window."""
        ...

    @property
    def recent_beside(self) -> Sequence[Window]:
        """The same of what is compared with each reference beside the one in force."""
        ...

    @property
    def feedback(self) -> Window:
        """Feedback that came within the effect window, about whatever records."""
        ...

    def past(self, detector: str) -> Sequence[Increment]:
        """Increments of this reference's windows of the last 7 days, oldest first."""
        ...


class StoredLookback:
    """The newest records and increments of a version, read when first asked for."""

    def __init__(self, database: Database, reading: Reading, settings: EvaluateSettings) -> None:
        self._database = database
        self._reading = reading
        self._settings = settings

    @cached_property
    def recent(self) -> Window:
        """Newest records up to the window's end, over at most the effect window."""
        columns, span = self._newest
        return comparable_window(columns, span, self._reading.calibrated)

    @cached_property
    def recent_beside(self) -> Sequence[Window]:
        """The same of what is compared with each reference beside the one in force."""
        columns, span = self._newest
        return windows_beside(columns, span, self._reading.calibrated)

    @cached_property
    def _newest(self) -> tuple[RecordColumns, Interval]:
        reading = self._reading
        end = datetime.fromtimestamp(reading.window.end, tz=UTC)
        since = end - self._settings.effect_window
        columns = self._database.run(
            lambda tx: records.newest_since(
                tx,
                version_id=reading.version.id,
                adapter_id=reading.version.adapter_id,
                since=since,
                limit=self._settings.effect_records,
                reference_id=reading.calibrated.reference.id if reading.calibrated else None,
                answers=reads_answers(reading.calibrated),
            )
        )
        return columns, Interval(start=since, end=end)

    @cached_property
    def feedback(self) -> Window:
        """Feedback that came within the effect window: what was read before, and now."""
        reading = self._reading
        end = datetime.fromtimestamp(reading.window.end, tz=UTC)
        span = Interval(start=end - self._settings.effect_window, end=end)

        def work(tx: Connection) -> Window:
            before = feedback.recent(
                tx,
                version_id=reading.version.id,
                since=span.start,
                most=self._settings.effect_records,
            )
            every = [*before, *reading.unread.arrivals]
            return feedback_window(
                every,
                span,
                directions=self._settings.directions(reading.version.adapter),
                calibrated=reading.calibrated,
            )

        return self._database.run(work)

    def past(self, detector: str) -> list[Increment]:
        """Increments of this reference's windows of the last 7 days, oldest first."""
        reading = self._reading
        if reading.calibrated is None:
            return []
        reference_id = reading.calibrated.reference.id
        since = datetime.fromtimestamp(reading.window.end, tz=UTC) - INCREMENTS_KEPT
        return self._database.run(
            lambda tx: processes.history(
                tx,
                version_id=reading.version.id,
                reference_id=reference_id,
                detector=detector,
                since=since,
            )
        )
