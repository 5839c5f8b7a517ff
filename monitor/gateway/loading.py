"""What switching between adapters costs, and which ones engines should keep loaded."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

REMEMBERED: Final = 64
"""First bytes of each kind that count, the latest ones."""

ENOUGH: Final = 8
NOTICEABLE: Final = 0.005
"""Seconds; a switch that costs less is not worth a place in an engine's memory."""


class Loaded(NamedTuple):
    """A version, as labels of metrics name it."""

    adapter: str
    version: str


@dataclass(slots=True)
class _FirstBytes:
    after_itself: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    after_another: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Loading:
    """Seconds until the first byte of streams, beside what the replica answered before.

    The switch latency of a version is the median after a request for another version minus
    the median after one for itself, on the same replica: an adapter that has to be fetched
    into the engine's memory shows there. None below 8 of each. Requests of other gateways to
    the same replica are not seen, and blur it.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._seen: dict[Loaded, _FirstBytes] = {}
        self._switches: Counter[Loaded] = Counter()

    @property
    def seen(self) -> Sequence[Loaded]:
        """Versions whose streams were seen."""
        return tuple(self._seen)

    def observe(self, one: Loaded, seconds: float, *, switched: bool) -> None:
        """Take the first byte of one stream."""
        seen = self._seen.setdefault(one, _FirstBytes())
        (seen.after_another if switched else seen.after_itself).append(seconds)
        self._switches[one] += switched

    def switch_seconds(self, one: Loaded) -> float | None:
        """What a switch to this version costs, at least 0."""
        seen = self._seen.get(one)
        if seen is None or min(len(seen.after_itself), len(seen.after_another)) < ENOUGH:
            return None
        return max(0.0, median(seen.after_another) - median(seen.after_itself))

    def to_keep(self) -> Sequence[Loaded]:
        """Versions worth a place, those with the most time to save first; empty: none need it.

        Time to save: switches so far, times what one costs. Recommended only while some
        switch costs more than 5 ms.
        """
        costs = {one: self.switch_seconds(one) or 0.0 for one in self._seen}
        if max(costs.values(), default=0.0) <= NOTICEABLE:
            return ()
        saved = {one: cost * self._switches[one] for one, cost in costs.items() if cost > 0}
        return sorted(saved, key=lambda one: -saved[one])[: self._places]
