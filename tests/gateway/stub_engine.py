"""An engine with vLLM's shapes that says fixed words and does as it is told."""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WORDS = ("On", " Tues", "day", ",", " at", " the", " lat", "est")
EVENT = {"content-type": "text/event-stream; charset=utf-8"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it reached the engine."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass
class StubEngine:
    """Serves ``models``; ``failures`` are statuses that a model's next requests get."""

    models: set[str] = field(default_factory=set)
    failures: dict[str, deque[int]] = field(default_factory=dict)
    refuses_logprobs: bool = False
    key: str = ""
    """What the list of models asks for, where it is not empty."""
    version: str = "0.32.0"
    slow: Mapping[str, float] = field(default_factory=dict)
    """Seconds before a model answers at all."""
    held: dict[str, threading.Event] = field(default_factory=dict)
    """What a model waits for before it answers at all."""
    pause: float = 0.0
    """Seconds before each token of a stream."""
    turns: threading.Semaphore | None = None
    """What each token of a stream takes one of, where there is one."""
    ends: threading.Event | None = None
    """What a stream waits for between its last event and its end, where there is one."""
    asked: list[Asked] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set when a client has gone before its stream was over."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/version", self._version),
                Route("/metrics", self._metrics),
                Route("/v1/models", self._list),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
                Route("/v1/responses", self._respond, methods=["POST"]),
                Route("/{path:path}", self._other, methods=["GET", "POST", "PUT", "DELETE"]),
            ]
        )

    def of(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path]

    async def _note(self, request: Request) -> Any:
        raw = await request.body()
        seen = Asked(path=request.url.path, headers=dict(request.headers), raw=raw)
        self.asked.append(seen)
        return seen.body if raw else None

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": self.version})  # asked beside the requests: not noted

    async def _metrics(self, _: Request) -> Response:
        return Response("")  # as above

    async def _list(self, request: Request) -> Response:
        await self._note(request)
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Unauthorized")
        cards = [
            {"id": name, "object": "model", "root": f"/lora/{name}", "parent": "base"}
            for name in sorted(self.models)
        ]
        return JSONResponse({"object": "list", "data": cards})

    async def _other(self, request: Request) -> Response:
        raw = await request.body()
        self.asked.append(Asked(path=request.url.path, headers=dict(request.headers), raw=raw))
        headers = {"x-engine": "stub", "connection": "x-private", "x-private": "1", "etag": '"e"'}
        return Response(raw[::-1], status_code=203, headers=headers)

    def _refusal(self, body: Any) -> Response | None:
        model = body["model"]
        planned = self.failures.get(model)
        if planned:
            return _error(planned.popleft(), "planned")
        if model not in self.models:
            return _error(404, f"The model `{model}` does not exist.")
        if self.refuses_logprobs and (body.get("logprobs") or body.get("include")):
            return _error(400, "no logprobs here")
        return None

    async def _chat(self, request: Request) -> Response:
        body = await self._note(request)
        await asyncio.sleep(self.slow.get(body["model"], 0.0))
        while body["model"] in self.held and not self.held[body["model"]].is_set():  # noqa: ASYNC110 - a test's thread sets it
            await asyncio.sleep(0.01)
        if refusal := self._refusal(body):
            return refusal
        words = WORDS[: body.get("max_tokens") or len(WORDS)]
        top = body.get("top_logprobs", 0) if body.get("logprobs") else None
        if body.get("stream"):
            return StreamingResponse(self._stream(body, words, top), headers=EVENT)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(words), "tool_calls": []},
            "logprobs": None if top is None else {"content": [_token(w, top) for w in words]},
            "finish_reason": "stop",
        }
        return JSONResponse(_envelope("chat.completion", body, [choice]) | _usage(words))

    async def _stream(
        self, body: Any, words: tuple[str, ...], top: int | None
    ) -> AsyncIterator[bytes]:
        try:
            delta: dict[str, Any] = {"role": "assistant", "content": ""}
            yield _event(_chunk(body, delta, None, ended=False))
            for place, word in enumerate(words):
                await self._turn()
                found = None if top is None else {"content": [_token(word, top)]}
                ended = place == len(words) - 1
                yield _event(_chunk(body, {"content": word}, found, ended=ended))
            if (body.get("stream_options") or {}).get("include_usage"):
                yield _event(_envelope("chat.completion.chunk", body, []) | _usage(words))
            yield b"data: [DONE]\n\n"
            while self.ends is not None and not self.ends.is_set():  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.hung_up.set()
            raise

    async def _turn(self) -> None:
        await asyncio.sleep(self.pause)
        while self.turns is not None and not self.turns.acquire(blocking=False):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

    async def _complete(self, request: Request) -> Response:
        body = await self._note(request)
        if refusal := self._refusal(body):
            return refusal
        words = WORDS[: body.get("max_tokens") or len(WORDS)]
        k = body.get("logprobs")
        found = None
        if k is not None:
            found = {
                "tokens": list(words),
                "token_logprobs": [_logprob(word) for word in words],
                "top_logprobs": [_top(word, k) for word in words],
                "text_offset": [0] * len(words),
            }
        choice = {"index": 0, "text": "".join(words), "logprobs": found, "finish_reason": "stop"}
        return JSONResponse(_envelope("text_completion", body, [choice]) | _usage(words))

    async def _respond(self, request: Request) -> Response:
        body = await self._note(request)
        if refusal := self._refusal(body):
            return refusal
        words = WORDS[: body.get("max_output_tokens") or len(WORDS)]
        top = body.get("top_logprobs") or 0
        wanted = "message.output_text.logprobs" in (body.get("include") or ())
        tokens = [_token(word, top) for word in words] if wanted else []
        text = {"type": "output_text", "text": "".join(words), "annotations": []}
        message = {"type": "message", "content": [text | {"logprobs": tokens}]}
        usage = {"input_tokens": 3, "output_tokens": len(words)}
        whole = {"status": "completed", "top_logprobs": top, "output": [message], "usage": usage}
        if not body.get("stream"):
            return JSONResponse(whole)
        deltas: list[dict[str, Any]] = [
            {"type": "response.output_text.delta", "delta": word, "logprobs": tokens[n : n + 1]}
            for n, word in enumerate(words)
        ]
        last: dict[str, Any] = {"type": "response.completed", "response": whole}
        events = [f"event: {one['type']}\n".encode() + _event(one) for one in (*deltas, last)]
        return StreamingResponse(iter(events), headers=EVENT)


def _logprob(word: str) -> float:
    return -0.1 * len(word)


def _top(word: str, k: int) -> dict[str, float]:
    return {f"{word}{n}" if n else word: _logprob(word) - n for n in range(max(1, k))}


def _token(word: str, top: int) -> dict[str, Any]:
    best = [{"token": t, "bytes": None, "logprob": p} for t, p in _top(word, top).items()]
    return {
        "token": word,
        "bytes": list(word.encode()),
        "logprob": _logprob(word),
        "top_logprobs": best if top else [],
    }


def _envelope(kind: str, body: Any, choices: list[Any]) -> dict[str, Any]:
    return {"id": "x", "object": kind, "created": 1, "model": body["model"], "choices": choices}


def _usage(words: tuple[str, ...]) -> dict[str, Any]:
    n = len(words)
    usage = {"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n}
    return {"usage": usage}


def _chunk(body: Any, delta: Any, logprobs: Any, *, ended: bool) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs}
    ending = {"finish_reason": "stop" if ended else None}
    return _envelope("chat.completion.chunk", body, [choice | ending])


def _event(body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _error(status: int, message: str) -> Response:
    error = {"message": message, "type": "Error", "param": None, "code": status}
    return JSONResponse({"error": error}, status_code=status)
