"""Log which versions engines should keep loaded, whenever that changes."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from monitor.gateway.loading import Loaded, Loading

_LOG: Final = structlog.get_logger(__name__)

LOOK: Final = 60.0
"""Seconds between looks."""


class Adviser:
    """Looks each minute; stays silent while no switch costs enough."""

    def __init__(self, loading: Loading, *, places: int) -> None:
        self._loading = loading
        self._places = places
        self._told: frozenset[Loaded] = frozenset()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Log the current recommendation if it differs from the last one logged."""
        kept = self._loading.to_keep()
        if frozenset(kept) == self._told:
            return
        self._told = frozenset(kept)
        _LOG.info("keep_loaded", versions=[self._written(one) for one in kept], places=self._places)

    def _written(self, one: Loaded) -> str:
        cost = self._loading.switch_seconds(one) or 0.0
        return f"{one.adapter}@{one.version}: a switch costs {1e3 * cost:.1f} ms"
