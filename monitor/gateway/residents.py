"""Keep the versions loaded that are worth it, and say which they are."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import aiohttp
import msgspec
import structlog

from monitor.gateway.engines import EngineReplica, ReplicaGroup, TooSlow, Unreachable, read_most
from monitor.gateway.loading import Loaded, Loading
from monitor.gateway.meters import Meters
from monitor.gateway.routebook import RouteBook
from monitor.gateway.settings import GatewaySettings

_LOG: Final = structlog.get_logger(__name__)

LOOK: Final = 5.0
"""Seconds between looks; each loads at most one version on each replica."""
TOLD_EVERY: Final = 60.0
"""Seconds between two recommendations in the log, at least."""

_PATIENCE: Final = 30.0
_AFTER_REFUSAL: Final = 60.0
_MOST: Final = 1024 * 1024
_OK: Final = 200
_COMPLETIONS: Final = "/v1/completions"


class ResidentKeeper:
    """Loads what engines should hold, by a request of one token; silent while no switch costs much.

    It never has an engine drop another version of those worth keeping.
    """

    def __init__(
        self,
        engines: ReplicaGroup,
        *,
        loading: Loading,
        book: RouteBook,
        meters: Meters,
        settings: GatewaySettings,
    ) -> None:
        self._engines = engines
        self._loading = loading
        self._book = book
        self._meters = meters
        self._places = settings.resident_adapters
        self._preload = settings.preload
        key = settings.engine_key
        self._headers = [("content-type", "application/json")]
        self._headers += [("authorization", f"Bearer {key}")] if key else []
        self._told: frozenset[Loaded] = frozenset()
        self._told_at = float("-inf")
        self._not_before: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            self._loading.fade(LOOK, routed=self._models())
            self.tell()
            try:
                await self.look()
            except Exception:  # noqa: BLE001 (requests go on; the next look may succeed)
                _LOG.exception("not_preloaded")

    def tell(self) -> None:
        """Log the current recommendation if it differs from the last one logged."""
        kept, now = self._loading.to_keep(), time.monotonic()
        if frozenset(kept) == self._told or now < self._told_at + TOLD_EVERY:
            return
        self._told, self._told_at = frozenset(kept), now
        _LOG.info(
            "keep_loaded",
            versions=[self._written(one) for one in kept],
            places=self._loading.places,
        )

    async def look(self) -> None:
        """Prefer replicas for versions that are dear to load, and load what is worth keeping."""
        models = self._models()
        self._loading.places = sum(one.places or self._places for one in self._engines.all)
        self._engines.dear = frozenset(models[one] for one in self._loading.dear() if one in models)
        kept = [one for one in self._loading.to_keep() if one in models]
        if self._preload and kept:
            planned = self._planned(kept, models)
            await asyncio.gather(*(self._at(each, one, models[one]) for each, one in planned))

    def _planned(
        self, kept: Sequence[Loaded], models: Mapping[Loaded, str]
    ) -> Iterator[tuple[EngineReplica, Loaded]]:
        """Choose at most one version for each replica: first those that no replica holds.

        A version that is worth keeping makes room only where another replica holds it as well, and
        only for one that none holds.
        """
        now = time.monotonic()
        wanted = {models[one] for one in kept}
        holders = Counter(model for engine in self._engines.all for model in engine.recent)
        for engine in self._engines.all:
            lacking = [one for one in kept if self._could_load(engine, models[one], now)]
            if not lacking or now < engine.away_until:
                continue
            chosen = min(lacking, key=lambda one: holders[models[one]] > 0)
            dropped = engine.next_dropped(self._places)
            if dropped in wanted and (holders[models[chosen]] or holders[dropped] == 1):
                continue
            holders.update({models[chosen]: 1})
            holders.subtract({dropped: 1} if dropped is not None else {})
            yield engine, chosen

    async def _at(self, engine: EngineReplica, one: Loaded, model: str) -> None:
        if (status := await self._load(engine, model)) == _OK:
            engine.used(model, self._places)
        else:  # also without the path: the engine may know no completions but those of chats
            self._not_before[engine.name, model] = time.monotonic() + _AFTER_REFUSAL
        outcome = "loaded" if status == _OK else "refused"
        self._meters.preloads.labels(*one, outcome).inc()

    def _could_load(self, engine: EngineReplica, model: str, now: float) -> bool:
        paused_until = self._not_before.get((engine.name, model), float("-inf"))
        return now >= paused_until and engine.could_load(model, now)

    async def _load(self, engine: EngineReplica, model: str) -> int:
        """Ask for one token, and return the status; 0 without an answer."""
        asked = {"model": model, "prompt": "a", "max_tokens": 1, "temperature": 0.0}
        engine.busy += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                response = await self._engines.ask(
                    engine,
                    "POST",
                    _COMPLETIONS,
                    headers=self._headers,
                    body=msgspec.json.encode(asked),
                )
                async with response:
                    await read_most(response, _MOST)
                    return response.status
        except (Unreachable, TooSlow, aiohttp.ClientError, TimeoutError, OSError):
            return 0
        finally:
            engine.busy -= 1

    def _models(self) -> dict[Loaded, str]:
        """Return the engines' name of each version that a route names."""
        return {
            Loaded(route.adapter, arm.version): arm.model
            for route in self._book.routes
            for arm in route.arms
        }

    def _written(self, one: Loaded) -> str:
        cost = self._loading.switch_seconds(one) or 0.0
        return f"{one.adapter}@{one.version}: a switch costs {1e3 * cost:.1f} ms"
