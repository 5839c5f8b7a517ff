"""The gateway's application: its own three pages, and the way to the engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from monitor.gateway import refusals
from monitor.gateway.exchange import answer
from monitor.gateway.inquiry import GatewayParts

ADMINISTRATION: Final = frozenset(
    {
        "adapters",
        "load_lora_adapter",
        "load_lora_adapter_from_tensors",
        "lora-adapters",
        "reset_prefix_cache",
        "sleep",
        "unload_lora_adapter",
        "wake_up",
    }
)
"""Path segments of engines' calls that change what is served: not for clients."""


class Proxy:
    """The ASGI application that asks the engines."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        segments = set(scope["path"].split("/"))
        if segments & ADMINISTRATION or ".." in segments:
            await refusals.NOT_PASSED_ON.send(send)
            return
        await answer(self._parts, scope, receive, send)


def create_app(
    parts: GatewayParts,
    *,
    ready: Callable[[], str | None],
    work: Callable[[], Awaitable[Callable[[], Awaitable[None]]]],
) -> Starlette:
    """Build the application.

    Parameters
    ----------
    ready
        Says why no request should come here yet; None where they may.
    work
        Starts what runs beside the requests and returns how to end it.
    """

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        why = ready()
        if why is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "unready", "reasons": [why]}, status_code=503)

    async def metrics(_: Request) -> Response:
        parts.meters.show(parts.loading)
        return Response(parts.meters.exposition(), media_type=CONTENT_TYPE_LATEST)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await parts.engines.open()
        end = await work()
        yield
        await end()
        await parts.engines.close()

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Mount("/", app=Proxy(parts)),
        ],
        lifespan=lifespan,
    )
