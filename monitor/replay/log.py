"""Records of one version in memory, with the store's queries. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from detectors.signals import SAMPLING
from detectors.types import Floats, Window
from monitor.domain import Interval, Recent
from monitor.evaluate.coverage import Requests
from monitor.reference.baseline import Baseline
from monitor.strata import Strata, comparable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """Records in order of time; a signal is NaN where its settings are not the reference's.

    ``measured`` are the signals before that, from which the service counts gaps.
    """

    at: Floats
    signals: Mapping[str, Floats]
    measured: Mapping[str, Floats]
    strata: Strata
    known: Sequence[str]
    subjects: npt.NDArray[np.int64] | None

    @classmethod
    def of(cls, records: Baseline, compared: Mapping[str, Floats], known: Sequence[str]) -> Log:
        """Build a log from measured records and their comparison with training, ``(n,)`` each."""
        measured, strata = {**records.signals, **compared}, Strata.of(records.strata)
        return cls(
            at=records.at,
            signals=comparable(measured, strata, known),
            measured=measured,
            strata=strata,
            known=known,
            subjects=records.subjects,
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

    def recent(self, start: datetime, end: datetime) -> Recent:
        """Return how many records of ``[start, end)`` can be compared, and when the newest was."""
        low, high = self._places(start, end)
        last = datetime.fromtimestamp(float(self.at[high - 1]), tz=UTC) if high > low else None
        return Recent(compared=int(self._alike()[low:high].sum()), last_at=last)

    @property
    def other_settings(self) -> int:
        """The number of records whose settings differ from the reference's."""
        return int((~self._alike()).sum())

    def window(self, interval: Interval) -> tuple[Window, Requests]:
        """Return an interval's records, both as compared and as they came."""
        low, high = self._places(interval.start, interval.end)
        requests = Requests(
            signals={name: values[low:high] for name, values in self.measured.items()},
            strata=self.strata[low:high],
        )
        return self._cut(low, high, interval), requests

    def newest(self, since: datetime, *, now: datetime, until: datetime, limit: int) -> Window:
        """Return the newest ``limit`` records between since and now.

        ``until`` is the window's end for its reader, as in the service: late records belong
        to it too.
        """
        low, high = self._places(since, now)
        return self._cut(max(low, high - limit), high, Interval(start=since, end=until))

    def _alike(self) -> npt.NDArray[np.bool_]:
        return self.strata.alike(self.known, SAMPLING)

    def _places(self, start: datetime, end: datetime) -> tuple[int, int]:
        low, high = np.searchsorted(self.at, [start.timestamp(), end.timestamp()])
        return int(low), int(max(low, high))

    def _cut(self, low: int, high: int, interval: Interval) -> Window:
        subjects = None if self.subjects is None else self.subjects[low:high]
        return Window(
            start=interval.start.timestamp(),
            end=interval.end.timestamp(),
            at=self.at[low:high],
            signals={name: values[low:high] for name, values in self.signals.items()},
            subjects=subjects if subjects is not None and (subjects >= 0).any() else None,
        )
