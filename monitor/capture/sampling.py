"""Choose the share of records to keep: cost stays flat, and small traffic is kept whole.

A record kept at a share is also kept at every larger one (:mod:`monitor.capture.keeping`). The
share follows the counts of whole days, never an extrapolation from a few minutes: see
:func:`share_of` and docs/decisions/0026.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.domain import AdapterId
from monitor.store.database import Database
from monitor.store.records import capture_counts
from monitor.store.records.capture_counts import Days

STEPS: Final = 10
"""The share is read again each time this fraction of the day's target was kept."""


def share_of(days: Days, *, target: int) -> float:
    """Return the share of an adapter's requests to keep now, in (0, 1].

    A day begins with the share that keeps ``target`` of the quieter one of the reference days: all
    of it, if that day was within the target or no day is known. Once more requests have come than
    that, the day is expected to equal the busier one, and beyond that to end now. So within a day
    the share only falls, and the number kept is at most

        ``target * (1 + (1 - quieter/busier) + log(requests/busier))``

    where days below the target count as the target and a day below the busier one adds no
    logarithm: the target for a day like those before it, 1.23 times that for a day with a quarter
    more, 3.3 times for the first day of an adapter that starts with ten times the target.

    >>> share_of(Days(today=4_000, quieter=300, busier=300), target=4_000)
    1.0
    >>> share_of(Days(today=9, quieter=40_000, busier=50_000), target=4_000)
    0.1
    >>> share_of(Days(today=4_001, quieter=300, busier=40_000), target=4_000)
    0.1
    >>> share_of(Days(today=8_000, quieter=0, busier=0), target=4_000)
    0.5
    """
    foreseen = max(target, days.quieter)
    if days.today > foreseen:
        foreseen = max(days.today, days.busier)
    return target / foreseen


@dataclass(slots=True)
class _Cached:
    share: float
    until: datetime
    left: int


@dataclass(slots=True, eq=False)
class Rates:
    """The share of each adapter, read from the store every minute and as records are kept."""

    database: Database
    _: KW_ONLY
    target_per_day: int
    clock: Callable[[], datetime]
    fresh_for: timedelta = timedelta(minutes=1)
    _cached: dict[AdapterId, _Cached] = field(default_factory=dict, init=False)

    def of(self, adapter_id: AdapterId) -> float:
        """Return the share of this adapter's requests to keep now."""
        now = self.clock()
        cached = self._cached.get(adapter_id)
        if cached is None or now >= cached.until or cached.left <= 0:
            cached = self._cached[adapter_id] = _Cached(
                share=self._looked_up(adapter_id, now),
                until=now + self.fresh_for,
                left=max(1, self.target_per_day // STEPS),
            )
        return cached.share

    def kept(self, adapter_id: AdapterId, count: int) -> None:
        """Count kept records, so that a flood updates the share before the minute ends."""
        cached = self._cached.get(adapter_id)
        if cached is not None:
            cached.left -= count

    def _looked_up(self, adapter_id: AdapterId, now: datetime) -> float:
        days = self.database.run(lambda tx: capture_counts.days(tx, adapter_id, now=now))
        return share_of(days, target=self.target_per_day)
