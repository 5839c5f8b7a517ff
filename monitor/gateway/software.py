"""Ask engines for their software and their places for adapters, in the background."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from monitor.gateway.engines import EngineReplica, ReplicaGroup, TooSlow, Unreachable, read_most
from monitor.gateway.settings import GatewaySettings
from monitor.probes import software
from monitor.probes.engine_metrics import adapter_places

FRESH_FOR: Final = 60.0
"""Seconds after which a replica is asked again, since an upgrade may go unnoticed."""

LOOK: Final = 2.0
"""Seconds between looks for replicas to ask."""

_PATIENCE: Final = 5.0
_MOST: Final = 1024 * 1024
_OK: Final = 200


class SoftwareKeeper:
    """Keeps :attr:`Engine.software` of each replica up to date.

    ``/version`` is vLLM's, and open without a key; ``/get_server_info`` is SGLang's. Other engines
    tell nothing, and their records have no ``engine``.
    """

    def __init__(self, engines: ReplicaGroup, *, settings: GatewaySettings) -> None:
        self._engines = engines
        key = settings.engine_key
        self._headers = [("authorization", f"Bearer {key}")] if key else []
        self._due: dict[str, float] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Ask the replicas whose software is unknown, or was asked long ago."""
        now = time.monotonic()
        await asyncio.gather(
            *(
                self._ask(one)
                for one in self._engines.all
                if one.software is None or self._due.get(one.name, 0.0) <= now
            )
        )

    async def _ask(self, engine: EngineReplica) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                named = software.vllm(await self._told(engine, "/version") or {})
                if named is None:
                    told = await self._told(engine, "/get_server_info")
                    named = "" if told is None else software.sglang(told)
        except (Unreachable, TooSlow, aiohttp.ClientError, TimeoutError, OSError):
            return  # unknown, or unchanged: the next look asks again
        engine.software = named
        self._due[engine.name] = time.monotonic() + FRESH_FOR
        if named.startswith("vllm"):
            await self._ask_places(engine)

    async def _told(self, engine: EngineReplica, path: str) -> Mapping[str, Any] | None:
        """Fetch a JSON object; None if the engine has no such page."""
        try:
            # the standard library, because engines write NaN
            found = json.loads(await self._page(engine, path) or b"")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    async def _ask_places(self, engine: EngineReplica) -> None:
        """Ask for the number of adapters that it holds; without an answer the last one stands."""
        recent = engine.recent
        try:
            async with asyncio.timeout(_PATIENCE):
                engine.places = adapter_places(await self._page(engine, "/metrics") or b"")
        except (Unreachable, TooSlow, aiohttp.ClientError, TimeoutError, OSError):
            engine.recent = recent  # its metrics broke off, and no request

    async def _page(self, engine: EngineReplica, path: str) -> bytes | None:
        """Fetch a page; None if the engine has no such page."""
        response = await self._engines.ask(engine, "GET", path, headers=self._headers, body=b"")
        async with response:
            return await read_most(response, _MOST) if response.status == _OK else None
