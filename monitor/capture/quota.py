"""Limit how much one subject can contribute about a version on trial.

Canary and shadow arms keep all their records, so the most active subject would dominate: a client
in a loop, or one that wants a version gone. Records beyond the quota count as sampled out. Each
process counts by itself and by its own clock, since a record's time comes from its sender.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final

HOUR: Final = 3600.0

MOST_COUNTED: Final = 100_000
"""The subjects counted in an hour; later ones have no quota."""


class Quota:
    """Counts records of each subject within the hour; safe to call from many threads."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._said: Counter[Hashable] = Counter()
        self._ends = float("-inf")

    def allows(self, who: Hashable) -> bool:
        """Count one more record of ``who``; False if over the quota. A quota of 0 is no limit."""
        if not self._most:
            return True
        with self._lock:
            if self._clock() >= self._ends:
                self._said, self._ends = Counter(), self._clock() + HOUR
            if self._said[who] >= self._most:
                return False
            if who in self._said or len(self._said) < MOST_COUNTED:
                self._said[who] += 1
            return True
