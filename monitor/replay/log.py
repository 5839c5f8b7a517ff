"""Records of one version in memory, asked as the store is asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from detectors.types import Floats, Window
from monitor.domain import Interval
from monitor.reference.baseline import Baseline
from monitor.store.records import Traffic


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """Records in order of time; ``at`` has all of them, the others those of known settings.

    ``compared[i]`` counts the records before the i-th of all that are compared: the others
    have settings that the reference has not, and are set aside as the service does.
    """

    at: Floats
    compared: npt.NDArray[np.int64]
    own_at: Floats
    signals: Mapping[str, Floats]
    subjects: npt.NDArray[np.int64] | None

    @classmethod
    def of(cls, records: Baseline, compared: Mapping[str, Floats], strata: Collection[str]) -> Log:
        """Take measured records and what comes of comparing them with training, ``(n,)`` each."""
        known = np.array([stratum in strata for stratum in records.strata], dtype=np.bool_)
        signals = {**records.signals, **compared}
        return cls(
            at=records.at,
            compared=np.concatenate([[0], np.cumsum(known)]),
            own_at=records.at[known],
            signals={name: values[known] for name, values in signals.items()},
            subjects=None if records.subjects is None else records.subjects[known],
        )

    def __len__(self) -> int:
        return int(self.at.size)

    @property
    def first_at(self) -> datetime:
        return datetime.fromtimestamp(float(self.at[0]), tz=UTC)

    @property
    def last_at(self) -> datetime:
        return datetime.fromtimestamp(float(self.at[-1]), tz=UTC)

    @property
    def days(self) -> float:
        """Days from the first record to the last."""
        return float(self.at[-1] - self.at[0]) / 86_400.0

    def count(self, start: datetime, end: datetime) -> int:
        """Count the records of ``[start, end)``, whatever their settings."""
        low, high = self._places(start, end)
        return high - low

    def traffic(self, start: datetime, end: datetime) -> Traffic:
        """Say how many records there are in ``[start, end)``, and when the newest was."""
        low, high = self._places(start, end)
        last = datetime.fromtimestamp(float(self.at[high - 1]), tz=UTC) if high > low else None
        return Traffic(count=high - low, last_at=last)

    def window(self, interval: Interval) -> tuple[Window, int]:
        """Give the compared records of an interval, and how many others it has."""
        low, high = self._places(interval.start, interval.end)
        window = self._cut(low, high, interval)
        return window, high - low - len(window)

    def newest(self, since: datetime, *, now: datetime, until: datetime, limit: int) -> Window:
        """Give the compared ones of the newest ``limit`` records between since and now.

        ``until`` is where the window ends for its reader, as in the service: late records
        are in it all the same.
        """
        low, high = self._places(since, now)
        return self._cut(max(low, high - limit), high, Interval(start=since, end=until))

    def _places(self, start: datetime, end: datetime) -> tuple[int, int]:
        low, high = np.searchsorted(self.at, [start.timestamp(), end.timestamp()])
        return int(low), int(max(low, high))

    def _cut(self, low: int, high: int, interval: Interval) -> Window:
        own = slice(int(self.compared[low]), int(self.compared[high]))
        subjects = None if self.subjects is None else self.subjects[own]
        return Window(
            start=interval.start.timestamp(),
            end=interval.end.timestamp(),
            at=self.own_at[own],
            signals={name: values[own] for name, values in self.signals.items()},
            subjects=subjects if subjects is not None and (subjects >= 0).any() else None,
        )
