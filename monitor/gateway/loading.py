"""Measure the cost of switching adapters, and choose which ones engines should keep loaded."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

REMEMBERED: Final = 64
"""The number of latest first bytes of each kind that count."""

ENOUGH: Final = 8
NOTICEABLE: Final = 0.005
"""Seconds; a cheaper switch is not worth a place in an engine's memory."""


class Loaded(NamedTuple):
    """A version, as metrics label it."""

    adapter: str
    version: str


@dataclass(slots=True)
class _FirstBytes:
    after_itself: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    after_another: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Loading:
    """Seconds until the first byte of streams, by what the replica answered before.

    The switch latency of a version is the median after a request for another version minus the
    median after one for itself, on the same replica: the time to fetch an adapter into the engine's
    memory shows in it. None below 8 of each. Other gateways' requests to the same replica are not
    seen, and blur it.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._seen: dict[Loaded, _FirstBytes] = {}
        self._switches: Counter[Loaded] = Counter()

    @property
    def seen(self) -> Sequence[Loaded]:
        """The versions whose streams were seen."""
        return tuple(self._seen)

    def observe(self, one: Loaded, seconds: float, *, switched: bool) -> None:
        """Record the first byte of one stream."""
        seen = self._seen.setdefault(one, _FirstBytes())
        (seen.after_another if switched else seen.after_itself).append(seconds)
        self._switches[one] += switched

    def switch_seconds(self, one: Loaded) -> float | None:
        """Return the cost of a switch to this version, at least 0."""
        seen = self._seen.get(one)
        if seen is None or min(len(seen.after_itself), len(seen.after_another)) < ENOUGH:
            return None
        return max(0.0, median(seen.after_another) - median(seen.after_itself))

    def to_keep(self) -> Sequence[Loaded]:
        """Return the versions worth keeping loaded, those that save most time first.

        The time saved is the number of switches so far times the cost of one. Empty unless some
        switch costs more than 5 ms.
        """
        costs = {one: self.switch_seconds(one) or 0.0 for one in self._seen}
        if max(costs.values(), default=0.0) <= NOTICEABLE:
            return ()
        saved = {one: cost * self._switches[one] for one, cost in costs.items() if cost > 0}
        return sorted(saved, key=lambda one: -saved[one])[: self._places]
