"""Processes of the gateway's benchmark: ``python -m benchmarks.gateway_peers ROLE PORT [ENGINE]``.

``engine`` answers at once, with as many words as there are in ``WORDS``, and is the service
too; ``raw`` is the least that a proxy with this client can do; ``gateway`` is ours.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

import aiohttp
import uvicorn

from benchmarks.asgi import read_body
from monitor.gateway.running import serve
from monitor.gateway.settings import GatewaySettings

PLAIN, SAMPLED = "plain", "sampled"
WORDS: Final = tuple(f" word{n}" for n in range(32))
TICKS: Final = 100
PACE: Final = 0.02
"""Seconds between the events of a slow stream."""

_STREAM: Final = [(b"content-type", b"text/event-stream")]
_JSON: Final = [(b"content-type", b"application/json")]
_START: Final = "http.response.start"
_BODY: Final = "http.response.body"


def _token(word: str) -> dict[str, Any]:
    best = [{"token": f"{word}{n}", "bytes": [1, 2, 3], "logprob": -n - 0.1} for n in range(5)]
    return {"token": word, "bytes": [1, 2, 3], "logprob": -0.1, "top_logprobs": best}


def _whole(*, logprobs: bool) -> bytes:
    message = {"role": "assistant", "content": "".join(WORDS)}
    found = {"content": [_token(word) for word in WORDS]} if logprobs else None
    choice = {"index": 0, "message": message, "logprobs": found, "finish_reason": "stop"}
    return json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode()


def _events(*, logprobs: bool) -> list[bytes]:
    made = []
    for word in WORDS:
        found = {"content": [_token(word)]} if logprobs else None
        choice = {"index": 0, "delta": {"content": word}, "logprobs": found, "finish_reason": None}
        made.append(b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n")
    return [*made, b"data: [DONE]\n\n"]


_WHOLE: Final = {asked: _whole(logprobs=asked) for asked in (False, True)}
_EVENTS: Final = {asked: _events(logprobs=asked) for asked in (False, True)}


async def _engine(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = await read_body(receive)
    match scope["path"]:
        case "/v1/routes":
            await _routes(scope, send)
        case "/v1/sampling":
            shares = {"shares": {PLAIN: 1e-12, SAMPLED: 1.0}}
            await _say(send, 200, json.dumps(shares).encode())
        case "/v1/records":
            await _say(send, 202, b"{}")
        case _:
            await _complete(json.loads(body), send)


async def _complete(asked: dict[str, Any], send: Any) -> None:
    logprobs = bool(asked.get("logprobs"))
    if not asked.get("stream"):
        await _say(send, 200, _WHOLE[logprobs])
        return
    slow = asked.get("user") == "slow"
    events = _EVENTS[logprobs]
    await send({"type": _START, "status": 200, "headers": _STREAM})
    for tick in range(TICKS if slow else len(events)):
        if slow:
            await asyncio.sleep(PACE)
        piece = events[tick % len(events)]
        await send({"type": _BODY, "body": piece, "more_body": True})
    await send({"type": _BODY, "body": b"", "more_body": False})


async def _routes(scope: Any, send: Any) -> None:
    if any(name == b"if-none-match" for name, _ in scope["headers"]):
        await asyncio.sleep(30)
        await _say(send, 304, b"")
        return
    arm = {"arm": "stable", "version": "v1", "model": "m", "weight": 1.0}
    since = "2026-01-01T00:00:00Z"
    items = [
        {"adapter": name, "generation": 1, "arms": [arm], "reason": "", "since": since}
        for name in (PLAIN, SAMPLED)
    ]
    await _say(send, 200, json.dumps({"items": items}).encode(), (b"etag", b'"1"'))


async def _say(send: Any, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": _START, "status": status, "headers": [*_JSON, length, *more]})
    await send({"type": _BODY, "body": body, "more_body": False})


class _Raw:
    """Reads the body, asks, and passes the answer on: no routes, no limits, no counting."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        headers = {"content-type": "application/json"}
        async with self._session.post(
            self._engine + scope["path"], data=body, headers=headers
        ) as answer:
            kept = [
                (name.lower(), value)
                for name, value in answer.raw_headers
                if name.lower() != b"transfer-encoding"
            ]
            await send({"type": _START, "status": answer.status, "headers": kept})
            async for piece in answer.content.iter_any():
                await send({"type": _BODY, "body": piece, "more_body": True})
            await send({"type": _BODY, "body": b"", "more_body": False})


def main(role: str, port: int, engine: str = "") -> None:
    """Serve until terminated."""
    if role == "gateway":
        serve(GatewaySettings(port=port, upstreams=(engine,), service=engine), cache=None)
        return
    app = _engine if role == "engine" else _Raw(engine)
    uvicorn.run(app, port=port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
