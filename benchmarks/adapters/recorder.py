"""Stands between gateway and service, passes all on, and keeps the records that went by."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Mapping
from typing import Any, Final, Self

import aiohttp
from aiohttp import web

HOP: Final = {"connection", "transfer-encoding", "content-length", "content-encoding", "host"}
LARGEST: Final = 64 * 1024 * 1024


class Recorder:
    """A proxy before ``driftline serve`` that remembers each record, in order of arrival."""

    def __init__(self, *, port: int, service: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port, self._service = port, service
        self._records: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="recorder")

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """Each record once, as it was first sent."""
        with self._lock:
            return list(self._records.values())

    async def _open(self) -> None:
        application = web.Application(client_max_size=LARGEST)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._client = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _close(self) -> None:
        await self._client.close()
        await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == "/v1/records":
            self._keep(body)
        kept = {name: said for name, said in request.headers.items() if name.lower() not in HOP}
        if encoding := request.headers.get("content-encoding"):
            kept["content-encoding"] = encoding
        try:
            async with self._client.request(
                request.method, self._service + request.path_qs, data=body, headers=kept
            ) as answer:
                passed = {n: v for n, v in answer.headers.items() if n.lower() not in HOP}
                if told := answer.headers.get("content-encoding"):
                    passed["content-encoding"] = told
                return web.Response(status=answer.status, body=await answer.read(), headers=passed)
        except aiohttp.ClientError:
            return web.Response(status=503)

    def _keep(self, body: bytes) -> None:
        plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        with self._lock:
            for line in plain.splitlines():
                if line.strip():
                    record = json.loads(line)
                    self._records.setdefault(record["id"], record)
