"""Keep what is dear to read for a minute, for all viewers of a page that refreshes by itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Generic, TypeVar

FRESH: Final = timedelta(minutes=1)
MOST: Final = 256

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class KeptForAMinute(Generic[Key, Found]):
    """Reads one thing at a time, each at most once a minute."""

    def __init__(self) -> None:
        self._kept: dict[Key, tuple[datetime, Found]] = {}
        self._lock = Lock()

    def of(self, key: Key, read: Callable[[], Found], *, now: datetime) -> Found:
        """Return what was read for a key, at most a minute old."""
        with self._lock:
            at, found = self._kept.pop(key, (now - FRESH, None))
            if found is None or not timedelta() <= now - at < FRESH:
                at, found = now, read()
            while len(self._kept) >= MOST:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (at, found)
            return found
