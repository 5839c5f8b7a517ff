"""What the gateway asks of Driftline, as told by a test."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass
class StubService:
    """Gives ``shares``, ``routes`` and ``keys``, and takes records with ``status``.

    It is ``busy`` for the first posts of records.
    """

    shares: dict[str, float] = field(default_factory=dict)
    routes: list[dict[str, Any]] = field(default_factory=list)
    status: int = 202
    busy: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    sampled_out: Counter[str] = field(default_factory=Counter)
    keys: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/routes", self._routes),
                Route("/v1/sampling", self._sampling, methods=["POST"]),
                Route("/v1/records", self._take, methods=["POST"]),
                Route("/v1/keys/clients", self._keys),
            ]
        )

    async def _routes(self, request: Request) -> Response:
        tag = f'"{sum(route["generation"] for route in self.routes)}"'
        if request.headers.get("if-none-match") == tag:
            await asyncio.sleep(0.2)
            return Response(status_code=304)
        return JSONResponse({"items": self.routes}, headers={"etag": tag})

    async def _keys(self, request: Request) -> Response:
        tag = f'"{hash(json.dumps(self.keys))}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304)
        return JSONResponse({"items": self.keys}, headers={"etag": tag})

    async def _sampling(self, request: Request) -> Response:
        self.sampled_out.update((await request.json())["sampled_out"])
        return JSONResponse({"shares": self.shares})

    async def _take(self, request: Request) -> Response:
        assert request.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        if self.busy:
            self.busy -= 1
            return JSONResponse({}, status_code=503)
        if self.status != 202:
            return JSONResponse({}, status_code=self.status)
        self.records += lines
        rejected = [{"index": n, "error": "x"} for n, one in enumerate(lines) if "bad" in one]
        return JSONResponse({"accepted": len(lines), "rejected": rejected}, status_code=202)
