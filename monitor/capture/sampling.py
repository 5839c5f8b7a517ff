"""Which records are kept, so that cost does not grow with traffic.

The decision is a hash of the record's id: every replica decides alike, a re-sent record is
decided as before, and no state is needed. The rate is fixed while a reference is in force,
because a changing rate changes the mix that is compared with it; but not before a day of traffic
has shown what it is, or the first minute would decide for months.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.domain import AdapterId, ArmKind
from monitor.store import sampling_rates
from monitor.store.database import Database

ALWAYS_KEPT: Final = frozenset({ArmKind.CANARY, ArmKind.SHADOW})
"""Arms on trial see little traffic and need all of it."""

_DAY: Final = timedelta(days=1)
_FULL: Final = 2**64
_WORTH_CHANGING: Final = 1.25
_SHORTEST: Final = timedelta(minutes=5)


def keep(adapter: str, record_id: str, probability: float, *, stage: str = "ingest") -> bool:
    """Whether a record with this id is kept at this probability; the same everywhere.

    The gateway decides with the same hash and the share that :class:`Rates` gives it, so what
    it sends is what would be kept here. A sampler with a rate of its own must use another
    ``stage``, or whatever passed the first would pass the second too.
    """
    if probability >= 1.0:
        return True
    name = f"{stage}\0{adapter}\0{record_id}".encode("utf-8", "surrogatepass")
    fate = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
    return fate < probability * _FULL


def choose_rate(*, seen: int, elapsed: timedelta, target_per_day: int) -> float:
    """The share to keep so that about ``target_per_day`` remain of what was seen.

    ``seen`` records came in ``elapsed``; less than five minutes count as five.

    >>> choose_rate(seen=40_000, elapsed=timedelta(days=1), target_per_day=4_000)
    0.1
    >>> choose_rate(seen=10, elapsed=timedelta(days=1), target_per_day=4_000)
    1.0
    """
    per_day = seen * (_DAY / max(elapsed, _SHORTEST))
    if per_day <= target_per_day:
        return 1.0
    return target_per_day / per_day


def next_rate(current: float | None, wanted: float) -> float:
    """The rate from now on: a change of less than a quarter is not worth making.

    >>> next_rate(None, 0.1), next_rate(0.5, 0.45), next_rate(0.5, 0.1)
    (0.1, 0.5, 0.1)
    """
    if current is None:
        return wanted
    ratio = max(current, wanted) / min(current, wanted)
    return current if ratio < _WORTH_CHANGING else wanted


@dataclass(slots=True)
class _Cached:
    rate: float
    until: datetime


class Rates:
    """The sampling rate of each adapter, looked up in the store at most once a minute."""

    def __init__(
        self,
        database: Database,
        *,
        target_per_day: int,
        clock: Callable[[], datetime],
        fresh_for: timedelta = timedelta(minutes=1),
    ) -> None:
        self._database = database
        self._target = target_per_day
        self._clock = clock
        self._fresh_for = fresh_for
        self._cached: dict[AdapterId, _Cached] = {}

    def of(self, adapter_id: AdapterId) -> float:
        """The share of this adapter's records that is kept now."""
        now = self._clock()
        cached = self._cached.get(adapter_id)
        if cached is None or now >= cached.until:
            rate = self._database.run(lambda tx: self._settle(tx, adapter_id, now))
            cached = self._cached[adapter_id] = _Cached(rate, now + self._fresh_for)
        return cached.rate

    def _settle(self, tx: Connection, adapter_id: AdapterId, now: datetime) -> float:
        stored = sampling_rates.fetch(tx, adapter_id)
        reference = sampling_rates.reference_in_force(tx, adapter_id)
        if stored and reference is not None and stored.reference_id == reference:
            return stored.rate
        traffic = sampling_rates.traffic(tx, adapter_id, now=now)
        wanted = choose_rate(
            seen=traffic.seen, elapsed=traffic.elapsed, target_per_day=self._target
        )
        rate = next_rate(stored.rate if stored else None, wanted)
        pinned_by = reference if traffic.is_a_day else None
        if stored is None or rate != stored.rate or pinned_by != stored.reference_id:
            sampling_rates.put(
                tx, adapter_id=adapter_id, reference_id=pinned_by, rate=rate, since=now
            )
        return rate
