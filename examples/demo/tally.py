"""Who was asked lately: counts over the last seconds, for people who watch."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

SPAN_S = 5.0


class Tally:
    """Counts requests by adapter and version; safe to use from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.answered = 0
        self.failed = 0
        self._clock = clock
        self._recent: deque[tuple[float, str, str]] = deque()
        self._lock = threading.Lock()

    def add(self, adapter: str, version: str) -> None:
        """Note one answer."""
        with self._lock:
            self.answered += 1
            self._recent.append((self._clock(), adapter, version))
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

    def rate(self, adapter: str) -> float:
        """Answers per second over the last 5 seconds."""
        return self.recent(adapter).total() / SPAN_S

    def _forget(self) -> None:
        oldest = self._clock() - SPAN_S
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
