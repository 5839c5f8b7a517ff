"""The service from the gateway's side: its address, and its current key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

from monitor.gateway.dialing import connector
from monitor.gateway.settings import GatewaySettings


class ServiceClient:
    """``driftline serve`` over HTTP.

    If the settings name no key, ``key_file`` is read at each request: the service's first start
    writes it, possibly after the gateway's start.
    """

    def __init__(self, settings: GatewaySettings, *, key_file: Path | None = None) -> None:
        self._url = settings.service.rstrip("/")
        self._key = settings.key
        self._key_file = key_file
        self._session = aiohttp.ClientSession(
            connector=connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Any:
        """Begin a request, to be entered as a context; redirects are not followed."""
        key = self._key or self._kept_key()
        own = {"Authorization": f"Bearer {key}"} if key else {}
        return self._session.request(
            method, self._url + path, headers=own | (headers or {}), allow_redirects=False, **more
        )

    def _kept_key(self) -> str:
        try:
            return self._key_file.read_text(encoding="utf-8").strip() if self._key_file else ""
        except OSError:
            return ""
