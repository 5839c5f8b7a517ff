"""The gateway's application: its own three pages, and the proxy to the engines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor import tracing
from monitor.gateway import catalogue, refusals
from monitor.gateway.exchange import answer, refuse
from monitor.gateway.inquiry import GatewayParts
from monitor.gateway.passing import CLIENTS, is_preflight, passes
from monitor.gateway.refusals import GatewayRefusal
from monitor.gateway.shadows import Shadows


class Proxy:
    """The ASGI application that forwards requests to the engines."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts
        self.shadows = Shadows(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
        elif tracing.active():
            with tracing.request("gateway", scope["headers"]):
                await self._pass_on(scope, receive, _noting(scope, send))
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = self._parts
        key = None
        if parts.ring is not None and not is_preflight(scope["method"], scope["headers"]):
            admitted = parts.ring.admit(scope["headers"])
            if isinstance(admitted, GatewayRefusal):
                await refuse(parts, admitted, send)
                return
            key = admitted
        if not passes(scope["method"], scope["raw_path"], parts.settings.passes):
            await refuse(parts, refusals.NOT_PASSED_ON, send)
            return
        if catalogue.is_asked_for(scope, parts.book, key=key):
            await catalogue.tell(parts, scope, receive, send, key=key)
            return
        answered = await answer(parts, scope, receive, send, key=key)
        if answered is not None:
            self.shadows.offer(scope, answered)


def _noting(scope: Scope, send: Send) -> Send:
    """Note in the request's span which of the known paths it asks, and the answer's status."""

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            path = scope["path"]
            tracing.note(route=path if path in CLIENTS else "other", status=message["status"])
        await send(message)

    return noting


def create_app(
    parts: GatewayParts,
    *,
    ready: Callable[[], str | None],
    warnings: Callable[[], Sequence[str]],
    work: Callable[[], Awaitable[Callable[[], Awaitable[None]]]],
) -> ASGIApp:
    """Build the application.

    Parameters
    ----------
    ready
        Returns why no request should come here yet; None if requests may come.
    warnings
        Returns warnings for people that do not stop requests.
    work
        Starts the background tasks and returns the function that ends them.
    """
    # two processes may share the port during a handover: the id tells which one answers
    me = {"pid": os.getpid()}

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "alive"} | me)

    async def readyz(_: Request) -> Response:
        why = ready()
        if why is None:
            return JSONResponse({"status": "ready", "warnings": warnings()} | me)
        return JSONResponse({"status": "unready", "reasons": [why]} | me, status_code=503)

    async def metrics(request: Request) -> Response:
        reader = None if parts.ring is None else parts.ring.reader(request.headers.raw)
        if isinstance(reader, GatewayRefusal):
            return reader.response()
        names = request.query_params.getlist("name[]")
        adapters = None if reader is None else reader.adapters
        parts.afterwards.settle()
        parts.meters.show(parts.loading)
        body = await asyncio.to_thread(parts.meters.exposition, names, adapters=adapters)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    proxy = Proxy(parts)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await parts.engines.open()
        end = await work()
        yield
        await proxy.shadows.end()
        parts.afterwards.settle()
        await parts.sampler.settle()
        await end()
        await parts.engines.close()

    pages = {"/livez": livez, "/readyz": readyz, "/metrics": metrics}
    own = Starlette(routes=[Route(path, page) for path, page in pages.items()], lifespan=lifespan)

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # not a mount: middleware and routing would add a third to the gateway's overhead
        passed_on = scope["type"] != "lifespan" and scope["path"] not in pages
        return (proxy if passed_on else own)(scope, receive, send)

    return app
