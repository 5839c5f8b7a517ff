"""How much one subject may say about a version on trial.

Canary and shadow arms keep all their records, so whoever asks most would decide most: a client
that loops, or one that wants a version gone. What a subject says beyond its quota is counted
as not wanted. Each process counts for itself, by its own clock: a record's time is its
sender's word.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final

HOUR: Final = 3600.0

MOST_COUNTED: Final = 100_000
"""Subjects of an hour that are counted; who comes after them is not held to the quota."""


class Quota:
    """Counts what each has said within the hour; safe to call from many threads."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._said: Counter[Hashable] = Counter()
        self._ends = float("-inf")

    def allows(self, who: Hashable) -> bool:
        """Count one more of ``who``, or say that it was too much; of a quota of 0 nothing is."""
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
