"""Token buckets: limits on the requests of a key, and on the failed logins of an address.

The buckets are in memory and per process: they protect this process, not an account. The
table of buckets is bounded; the one unused for longest is forgotten first, which gives back
a full bucket and never refuses a caller.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """``burst`` at once, then ``per_second``."""

    per_second: float
    burst: float


class Throttle:
    """One bucket per name.

    ``clock`` is monotonic seconds.
    """

    def __init__(
        self, allowance: Allowance, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowance = allowance
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take one token of ``name``; 0.0, or the seconds until there is one."""
        with self._lock:
            level, now = self._level(name)
            wait = self._wait(level)
            self._keep(name, level if wait else level - 1.0, now=now)
            return wait

    def wait(self, name: str) -> float:
        """Return the seconds until ``name`` has a token, 0.0 for no wait; takes nothing."""
        with self._lock:
            level, _ = self._level(name)
            return self._wait(level)

    def _level(self, name: str) -> tuple[float, float]:
        now = self._clock()
        level, at = self._buckets.get(name, (self._allowance.burst, now))
        refilled = level + (now - at) * self._allowance.per_second
        return min(self._allowance.burst, refilled), now

    def _wait(self, level: float) -> float:
        return 0.0 if level >= 1.0 else (1.0 - level) / self._allowance.per_second

    def _keep(self, name: str, level: float, *, now: float) -> None:
        self._buckets[name] = (level, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
