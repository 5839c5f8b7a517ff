"""Limit the rate of messages to a receiver: a token bucket."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRate:
    """The messages per second on average, and at most at once after a pause."""

    per_second: float
    burst: int


class Bucket:
    """The tokens left of a pace; for one thread.

    >>> now = 0.0
    >>> bucket = Bucket(MessageRate(per_second=1.0, burst=2), clock=lambda: now)
    >>> bucket.take(2)
    >>> bucket.free
    0
    >>> now = 1.5
    >>> bucket.free
    1
    """

    def __init__(self, pace: MessageRate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._clock = clock
        self._tokens = float(pace.burst)
        self._at = clock()

    @property
    def free(self) -> int:
        """The number of messages that may be sent now."""
        now = self._clock()
        gained = (now - self._at) * self._pace.per_second
        self._tokens = min(float(self._pace.burst), self._tokens + gained)
        self._at = now
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Spend tokens for messages being sent; at most :attr:`free`."""
        self._tokens -= count
