"""Memory that many share: bounded in all, and never so that one leaves nothing for the next.

Nobody may hold more than is still free: one alone gets half, each of ``n`` gets ``1 / (n + 1)``,
and so much is left for whoever comes next.
"""

from __future__ import annotations

from collections import Counter


class Room:
    """Counts bytes by holder; not for several threads at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: Counter[str] = Counter()
        self.used = 0

    def take(self, size: int, *, holder: str) -> bool:
        """Count ``size`` more bytes; False, and nothing, where the holder may not have them."""
        if self._of[holder] + size > self._most - self.used:
            return False
        self._of[holder] += size
        self.used += size
        return True

    def give(self, size: int, *, holder: str) -> None:
        """Count ``size`` bytes less."""
        self.used -= size
        self._of[holder] -= size
        if not self._of[holder]:
            del self._of[holder]
