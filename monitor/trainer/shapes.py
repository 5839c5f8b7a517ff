"""The request, the version that it becomes, and how its training ended."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import msgspec


def versions_path(adapter: str) -> str:
    """Return the place of an adapter's versions in the API."""
    return f"/adapters/{quote(adapter, safe='')}/versions"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, as the service describes it."""

    retraining: int
    adapter: str
    version: str
    below: float | None
    replay_share: float


class MadeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version that a training made."""

    adapter: str
    version: str
    folder: str

    @property
    def model(self) -> str:
        """The name that engines serve it under."""
        return f"{self.adapter}@{self.version}"

    @property
    def path(self) -> str:
        """Its place in the API."""
        return f"{versions_path(self.adapter)}/{quote(self.version, safe='')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a training ended: ``state`` is ``done``, or ``refused``."""

    state: str
    note: str
    made: str | None
