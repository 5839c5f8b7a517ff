"""Who answered: counts over the last seconds, for people who watch, and when a version began."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

SPAN_S = 5.0
REMEMBERED = 20_000
"""Answers whose times are kept, the latest ones."""


class Tally:
    """Counts requests by adapter and version; safe to use from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.answered = 0
        self.failed = 0
        self._clock = clock
        self._recent: deque[tuple[float, str, str]] = deque()
        self._all: deque[tuple[float, str, str]] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    def add(self, adapter: str, version: str) -> None:
        """Note one answer."""
        with self._lock:
            self.answered += 1
            answer = (self._clock(), adapter, version)
            self._recent.append(answer)
            self._all.append(answer)
            self._forget()

    def add_failure(self) -> None:
        """Note a request that nobody answered."""
        with self._lock:
            self.failed += 1

    def recent(self, adapter: str, *, seconds: float = SPAN_S) -> Counter[str]:
        """Count the adapter's answers by version over the last ``seconds``, at most 5."""
        with self._lock:
            since = self._clock() - seconds
            return Counter(v for at, a, v in self._recent if a == adapter and at >= since)

    def first(self, adapter: str, version: str, *, since: float) -> float | None:
        """When a version gave its first answer from ``since`` on; None if it has given none."""
        with self._lock:
            return next(
                (at for at, a, v in self._all if at >= since and (a, v) == (adapter, version)), None
            )

    def last(self, adapter: str, version: str) -> float | None:
        """When a version gave its latest answer; None if it has given none."""
        with self._lock:
            times = (at for at, a, v in reversed(self._all) if (a, v) == (adapter, version))
            return next(times, None)

    def count(self, adapter: str, version: str) -> int:
        """Count the answers of a version that are remembered."""
        with self._lock:
            return sum((a, v) == (adapter, version) for _, a, v in self._all)

    def rate(self, adapter: str) -> float:
        """Answers per second over the last 5 seconds."""
        return self.recent(adapter).total() / SPAN_S

    def _forget(self) -> None:
        oldest = self._clock() - SPAN_S
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
