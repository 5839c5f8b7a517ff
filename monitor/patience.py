"""How many connections a server takes, and how long it waits for what they bring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """How many connections there may be, and how fast their requests have to come.

    ``most`` is lowered where the process may not open so many files. A body has ``body`` to
    begin with, and one more second for every ``pace`` bytes that came of it. ``reading`` is
    how long a client may take nothing of its answer.
    """

    most: int = 2_000
    per_address: int = 500
    head: timedelta = timedelta(seconds=10)
    body: timedelta = timedelta(seconds=20)
    pace: int = 32 * 1024
    reading: timedelta = timedelta(minutes=1)

    @property
    def problems(self) -> list[str]:
        """What cannot be, each by its key."""
        found = [
            f"{name}: must be longer than 0"
            for name in ("head", "body", "reading")
            if getattr(self, name) <= timedelta()
        ]
        found += [
            f"{name}: must be at least 1"
            for name in ("most", "per_address", "pace")
            if getattr(self, name) < 1
        ]
        return found
