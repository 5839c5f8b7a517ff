"""Measure the cost of switching adapters, and choose which ones engines should keep loaded."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

REMEMBERED: Final = 64
"""The number of latest first bytes of each kind that count."""

ENOUGH: Final = 8
NOTICEABLE: Final = 0.005
"""Seconds; a cheaper switch is not worth a place in an engine's memory."""
HALF_LIFE: Final = 1800.0
"""Seconds after which a switch, and a cost that is no longer measured, count half."""


class Loaded(NamedTuple):
    """A version, as metrics label it."""

    adapter: str
    version: str


class _Seen(NamedTuple):
    seconds: float
    at: float


@dataclass(slots=True)
class _FirstBytes:
    held: deque[_Seen] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    fetched: deque[_Seen] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Loading:
    """Seconds until the first byte of streams, by whether the replica held the version.

    The switch latency of a version is the median where it was not held minus the median where it
    was: the time to fetch an adapter into the engine's memory. A replica holds the versions that it
    answered for last, as many as it has places. None below 8 of each. Other gateways' requests to
    the same replica are not seen, and blur it. A version that is kept loaded costs nothing to
    switch to, and stays worth it: so its highest cost is remembered, and fades.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        """The number of versions that all replicas hold together."""
        self._seen: dict[Loaded, _FirstBytes] = {}
        self._switches: dict[Loaded, float] = {}
        self._remembered: dict[Loaded, float] = {}
        self._now = 0.0

    @property
    def seen(self) -> Sequence[Loaded]:
        """The versions whose streams were seen."""
        return tuple(self._seen)

    def observe(self, one: Loaded, seconds: float, *, switched: bool) -> None:
        """Record the first byte of one stream."""
        seen = self._seen.setdefault(one, _FirstBytes())
        (seen.fetched if switched else seen.held).append(_Seen(seconds, self._now))
        self._switches[one] = self._switches.get(one, 0.0) + switched

    def switch_seconds(self, one: Loaded) -> float | None:
        """Return the cost of a switch to this version, at least 0."""
        seen = self._seen.get(one)
        if seen is None:
            return None
        held, fetched = self._lately(seen.held), self._lately(seen.fetched)
        if min(len(held), len(fetched)) < ENOUGH:
            return None
        return max(0.0, median(fetched) - median(held))

    def _lately(self, seen: Iterable[_Seen]) -> list[float]:
        return [one.seconds for one in seen if one.at > self._now - 2 * HALF_LIFE]

    def to_keep(self) -> Sequence[Loaded]:
        """Return the versions worth keeping loaded, those that save most time first.

        The time saved is the number of recent switches times the cost of one. Empty unless some
        switch costs more than 5 ms.
        """
        costs = {one: self._cost(one) for one in self._seen}
        if max(costs.values(), default=0.0) <= NOTICEABLE:
            return ()
        saved = {one: cost * self._switches[one] for one, cost in costs.items() if cost > 0}
        return sorted(saved, key=lambda one: -saved[one])[: self.places]

    def dear(self) -> Sequence[Loaded]:
        """Return the versions whose switches cost more than 5 ms."""
        return [one for one in self._seen if self._cost(one) > NOTICEABLE]

    def fade(self, seconds: float, *, routed: Container[Loaded]) -> None:
        """Remember the costs now, and let what was before count less after some seconds.

        A version that no route names is forgotten.
        """
        left = 0.5 ** (seconds / HALF_LIFE)
        self._now += seconds
        for one in self.seen:
            if one not in routed:
                for known in (self._seen, self._switches, self._remembered):
                    known.pop(one, None)
        for one in self._seen:
            self._switches[one] *= left
            now = self.switch_seconds(one) or 0.0
            self._remembered[one] = max(now, left * self._remembered.get(one, 0.0))

    def _cost(self, one: Loaded) -> float:
        return max(self.switch_seconds(one) or 0.0, self._remembered.get(one, 0.0))
