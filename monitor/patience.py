"""The limits on a server's connections, and on its waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The number of connections, and the required speed of their requests.

    ``most`` is lowered if the process may not open so many files. A body gets ``body``, and one
    more second for every ``pace`` bytes received. ``reading`` is how long a client may read
    nothing of its answer.
    """

    most: int = 2_000
    per_address: int = 500
    head: timedelta = timedelta(seconds=10)
    body: timedelta = timedelta(seconds=20)
    pace: int = 32 * 1024
    reading: timedelta = timedelta(minutes=1)

    @property
    def problems(self) -> list[str]:
        """The invalid settings, each by its key."""
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
