"""``/v1/models``: the names that clients ask for, before what the engines serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import msgspec
from starlette.types import Receive, Scope, Send

from monitor.domain import Route
from monitor.gateway.asked import Asked
from monitor.gateway.engines import TooSlow, Unreachable, read_most
from monitor.gateway.exchange import answer
from monitor.gateway.inquiry import GatewayParts, Inquiry
from monitor.gateway.meters import NO_ADAPTER
from monitor.gateway.passing import MODELS
from monitor.gateway.routebook import RouteBook

MOST: Final = 8 * 1024 * 1024
"""Bytes of an engine's list: some 20,000 models."""

_OWNER: Final = "driftline"
_OK: Final = 200
_NO_ACCESS: Final = frozenset({401, 403})

Card = Mapping[str, Any]


def is_asked_for(scope: Scope, book: RouteBook) -> bool:
    """Whether the gateway answers this by itself: the list, or the card of an adapter.

    Without any route it adds nothing, and all passes untouched.
    """
    if scope["method"] != "GET" or not len(book):
        return False
    name = _name(scope)
    return scope["path"] == MODELS if name is None else book.find(name) is not None


async def tell(parts: GatewayParts, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the adapters that have routes, then with what one replica serves.

    Where no replica can be asked the routed names alone are told. An engine that refuses the
    client's key is heard itself.
    """
    served = await _served(parts, scope)
    if served is None:
        await answer(parts, scope, receive, send)
        return
    routed = {route.adapter: routed_card(route, served) for route in parts.book.now()}
    name = _name(scope)
    told = _listed(routed, served) if name is None else routed[name]
    body = msgspec.json.encode(told)
    parts.meters.requests.labels(NO_ADAPTER, "", "", str(_OK)).inc()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": _OK, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def routed_card(route: Route, served: Sequence[Card]) -> Card:
    """Write an adapter's card: that of the version which answers most, under its own name.

    The engine's card says from where it took the weights, the base model, and the longest
    context; where it has none (another replica may), the card says only what is known here.
    """
    model = max(route.arms, key=lambda arm: arm.weight).model
    known = next((card for card in served if card.get("id") == model), None)
    plain = {
        "object": "model",
        "created": int(route.since.timestamp()),
        "owned_by": _OWNER,
        "root": model,
        "parent": None,
    }
    return {**(known or plain), "id": route.adapter}


def _name(scope: Scope) -> str | None:
    """Give the name whose card is asked for; None where the path names none."""
    path: str = scope["path"]
    return path.removeprefix(f"{MODELS}/") if path.startswith(f"{MODELS}/") else None


def _listed(routed: Mapping[str, Card], served: Sequence[Card]) -> Card:
    """Put routed names first; one that an engine serves too is listed once."""
    others = (card for card in served if card.get("id") not in routed)
    return {"object": "list", "data": [*routed.values(), *others]}


async def _served(parts: GatewayParts, scope: Scope) -> Sequence[Card] | None:
    """Ask one replica, or another in its place; None: it does not let this client see."""
    plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
    whole = {**scope, "path": MODELS, "raw_path": MODELS.encode(), "headers": plain}
    inquiry = Inquiry(parts, whole, Asked(body=b""), None)
    try:
        attempt = await inquiry.first_that_answers(None)
    except (Unreachable, TooSlow):
        return ()
    response = attempt.response
    assert response is not None  # noqa: S101 (first_that_answers says so)
    try:
        if response.status in _NO_ACCESS:
            return None
        return _cards(await read_most(response, MOST)) if response.status == _OK else ()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return ()
    finally:
        attempt.close()


def _cards(body: bytes) -> Sequence[Card]:
    try:
        found = msgspec.json.decode(body)["data"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ()
    return [card for card in found if isinstance(card, dict)] if isinstance(found, list) else ()
