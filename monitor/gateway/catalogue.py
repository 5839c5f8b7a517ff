"""Answer ``/v1/models``: the adapters that clients ask for, then the engines' models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import msgspec
from starlette.types import Receive, Scope, Send

from monitor.domain import Route
from monitor.gateway.asked import RequestBody
from monitor.gateway.engines import TooSlow, Unreachable, read_most
from monitor.gateway.exchange import answer
from monitor.gateway.inquiry import GatewayParts, Inquiry
from monitor.gateway.keyring import ClientKey
from monitor.gateway.meters import NO_ADAPTER
from monitor.gateway.passing import MODELS
from monitor.gateway.routebook import RouteBook

MOST: Final = 8 * 1024 * 1024
"""The largest list of an engine, in bytes: some 20,000 models."""

_OWNER: Final = "driftline"
_OK: Final = 200
_NO_ACCESS: Final = frozenset({401, 403})

Card = Mapping[str, Any]


def is_asked_for(scope: Scope, book: RouteBook, *, key: ClientKey | None = None) -> bool:
    """True if the gateway itself answers this request: the list, or an adapter's card.

    Without any route it adds nothing, and the request goes to an engine unchanged, except that a
    key with adapters of its own sees no list but these.
    """
    bound = key is not None and key.adapters is not None
    if scope["method"] != "GET" or not (len(book) or bound):
        return False
    name = _name(scope)
    if name is None:
        return bool(scope["path"] == MODELS)
    return book.find(name) is not None and (key is None or key.may_ask(name))


async def tell(
    parts: GatewayParts, scope: Scope, receive: Receive, send: Send, *, key: ClientKey | None = None
) -> None:
    """Answer with the adapters that have routes, then with one replica's models.

    If no replica can be asked, only the routed names are listed. If an engine refuses the client's
    key, its own answer is passed on. A ``key`` with adapters of its own sees only these.
    """
    cards = await _served(parts, scope)
    if cards is None and key is not None and key.adapters is not None:
        cards = ()  # another replica might list everything
    if cards is None:
        await answer(parts, scope, receive, send, key=key)
        return
    served = [card for card in cards if key is None or key.may_ask(card.get("id"))]
    routed = {
        route.adapter: routed_card(route, cards)
        for route in parts.book.now()
        if key is None or key.may_ask(route.adapter)
    }
    name = _name(scope)
    told = _listed(routed, served) if name is None else routed[name]
    body = msgspec.json.encode(told)
    parts.meters.requests.labels(NO_ADAPTER, "", "", str(_OK)).inc()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": _OK, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def routed_card(route: Route, served: Sequence[Card]) -> Card:
    """Write an adapter's card: that of the version with the most weight, under its own name.

    The engine's card has the weights' origin, the base model and the longest context; if this
    replica has no card for it, the gateway's card says only what the gateway knows.
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
    """Return the name in the path; None if the path names no model."""
    path: str = scope["path"]
    return path.removeprefix(f"{MODELS}/") if path.startswith(f"{MODELS}/") else None


def _listed(routed: Mapping[str, Card], served: Sequence[Card]) -> Card:
    """List routed names first; a name that an engine serves too appears once."""
    others = (card for card in served if card.get("id") not in routed)
    return {"object": "list", "data": [*routed.values(), *others]}


async def _served(parts: GatewayParts, scope: Scope) -> Sequence[Card] | None:
    """Ask one replica for its models, or another if it fails; None if it refuses the client."""
    plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
    whole = {**scope, "path": MODELS, "raw_path": MODELS.encode(), "headers": plain}
    inquiry = Inquiry(parts, whole, RequestBody(body=b""), None)
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
