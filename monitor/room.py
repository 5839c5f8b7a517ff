"""Memory that many share: bounded in all, and never so that one leaves nothing for the next.

Nobody may come to hold more than is then still free: one alone gets half, the next one half of
the rest, and as they give back all come to the same.
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
        if self._of[holder] + size > self._most - self.used - size:
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
