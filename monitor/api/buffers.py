"""The memory that the bodies of all requests in flight may take together.

A body is held whole until its request is answered. The sum is bounded, and no sender may hold
more of it than is still free: one alone gets half, ``n`` of them ``n / (n + 1)``, and whoever
comes next finds room. Who does not is told to come again, before a byte more is kept.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

from monitor.api.problems import Problem

MOST_BUFFERED: Final = 64 * 1024 * 1024


class Buffers:
    """Counts the bytes of bodies in flight; lives on the event loop, so it needs no lock."""

    def __init__(self, most: int = MOST_BUFFERED) -> None:
        self._most = most
        self._of: Counter[str] = Counter()
        self.used = 0

    def take(self, size: int, *, sender: str) -> None:
        """Count ``size`` more bytes; 429 when that is more than the sender may hold."""
        if self._of[sender] + size > self._most - self.used:
            raise Problem(
                429,
                "Too many bodies are in flight; send this one again.",
                kind="overloaded",
                headers={"Retry-After": str(random.randint(5, 30))},  # noqa: S311 (jitter)
            )
        self._of[sender] += size
        self.used += size

    def give(self, size: int, *, sender: str) -> None:
        """Count ``size`` bytes less."""
        self.used -= size
        self._of[sender] -= size
        if not self._of[sender]:
            del self._of[sender]
