"""Share memory among many holders: bounded in all, and never used up by one.

Nobody may hold more than what then remains free: the first alone gets half, the next half of the
rest, and as they release memory all approach the same share.
"""

from __future__ import annotations

from collections import Counter


class Room:
    """Counts bytes by holder; not thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: Counter[str] = Counter()
        self.used = 0

    def take(self, size: int, *, holder: str) -> bool:
        """Count ``size`` more bytes; False, counting nothing, if the holder may not have them."""
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
