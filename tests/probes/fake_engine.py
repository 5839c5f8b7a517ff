"""An engine on the loopback: vLLM's or SGLang's JSON shapes, its state, faults on request."""

import contextlib
import functools
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

START = "<s>"


def tokens_of(text: str) -> list[str]:
    """Words with the space before them: together they are the text."""
    return re.findall(r"\s*\S+|\s+$", text)


@dataclass
class FakeEngine:
    """Scores a prompt of n words as n + 1 tokens of 0.5 nats, the first one unconditioned.

    ``fail_at`` answers the n-th completion (from 1) with ``status`` and every later one
    too: an engine that died stays dead. ``scores`` turns the text that was sent into the
    one that is scored, and ``costs`` gives a model's nats a token where they are not ``nll``.
    ``metrics`` None: there is no such route.
    """

    models: list[dict[str, str | None]] = field(
        default_factory=lambda: [
            {"id": "base", "parent": None},
            {"id": "support@v7", "parent": "base"},
        ]
    )
    owner: str = "vllm"
    version: str = "0.32.0"
    knows: frozenset[str] = frozenset({"prompt_logprobs", "echo"})
    most_rivals: int = 20
    waiting: float = 0.0
    metrics: str | None = ""
    longest: int = 512
    fail_at: int | None = None
    status: int = 500
    failure: bytes = b'{"error": {"message": "EngineDeadError"}}'
    retry_after: str | None = None
    nll: float = 0.5
    costs: Mapping[str, float] = field(default_factory=dict)
    lasts: float = 0.0
    scores: Callable[[str], str] = lambda text: text
    completions: list[dict[str, Any]] = field(default_factory=list)
    gets: list[str] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str) -> tuple[int, bytes]:
        self.gets.append(path)
        match path:
            case "/v1/models":
                cards = [{**card, "owned_by": self.owner} for card in self.models]
                return 200, json.dumps({"object": "list", "data": cards}).encode()
            case "/version" if self.owner != "sglang":
                return 200, json.dumps({"version": self.version}).encode()
            case "/server_info" if self.owner == "sglang":
                told = {"version": self.version, "dtype": "bfloat16", "api_key": "secret"}
                return 200, json.dumps(told).encode()
            case "/metrics" if self.metrics is not None:
                name = "sglang:num_queue_reqs" if self.owner == "sglang" else _WAITING
                line = f'{name}{{engine="0",model_name="base"}} {self.waiting}'
                return 200, f"# HELP {name} x\n{line}\n{self.metrics}\n".encode()
        return 404, b'{"detail":"Not Found"}'

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        with self.lock:
            self.completions.append(body)
            number = len(self.completions)
        if self.lasts:
            time.sleep(self.lasts)
        if self.fail_at is not None and number >= self.fail_at:
            return self.status, self.failure
        asked = str(body["text"] if path == "/generate" else body["prompt"])
        words = tokens_of(self.scores(asked))
        if len(words) > self.longest:
            said = f"This model's maximum context length is {self.longest} tokens."
            return 400, json.dumps({"error": {"message": said, "code": 400}}).encode()
        top = max(int(body.get(key) or 0) for key in ("logprobs", "prompt_logprobs"))
        if top > self.most_rivals:
            return 400, b'{"error": {"message": "too many logprobs", "code": 400}}'
        if path == "/generate":
            return (200, self._native(body, words)) if self.owner == "sglang" else (404, b"{}")
        return 200, self._completion(body, words)

    def _completion(self, body: dict[str, Any], words: list[str]) -> bytes:
        nll = self.costs.get(str(body.get("model")), self.nll)
        choice: dict[str, Any] = {"index": 0, "text": " the", "logprobs": None}
        if "prompt_logprobs" in body and "prompt_logprobs" in self.knows:
            places = [self._place(w, body["prompt_logprobs"], nll) for w in words]
            choice["prompt_logprobs"] = [None, *places]
            if body.get("return_token_ids"):
                choice["prompt_token_ids"] = [1, *map(_id, words)]
        if body.get("echo") and "echo" in self.knows:
            shown = [START, *words]
            choice["logprobs"] = {
                "tokens": shown,
                "token_logprobs": [None, *[-nll] * len(words)],
                "text_offset": [0, *itertools.accumulate(map(len, shown[:-1]))],
                "top_logprobs": [None, *(_by_text(w, body["logprobs"], nll) for w in words)],
            }
        usage = {"prompt_tokens": len(words) + 1, "completion_tokens": 1}
        answer = {"object": "text_completion", "choices": [choice], "usage": usage}
        return msgspec.json.encode(answer)

    def _place(self, word: str, top: int, nll: float) -> dict[str, Any]:
        own = {str(_id(word)): {"logprob": -nll, "rank": 1, "decoded_token": word}}
        # a proxy that sorts keys: the prompt's own token need not stand first
        return dict(sorted((_by_id(top) | own).items())) if top else own

    def _native(self, body: dict[str, Any], words: list[str]) -> bytes:
        top = body["top_logprobs_num"]
        meta: dict[str, Any] = {
            "prompt_tokens": len(words) + 1,
            "input_token_logprobs": [[None, 1, START], *([-self.nll, _id(w), w] for w in words)],
            "output_token_logprobs": [[-0.1, 5, " the"]],
        }
        if top:
            rivals = [[[-self.nll, _id(w), w], *_rivals(top - 1)] for w in words]
            meta["input_top_logprobs"] = [None, *rivals]
        return msgspec.json.encode({"text": " the", "meta_info": meta})


def _by_text(word: str, top: int, nll: float) -> dict[str, float]:
    return {word: -nll} | {w: v for v, _, w in _rivals(top)}


@functools.cache
def _rivals(count: int) -> list[tuple[float, int, str]]:
    return [(-1.0 - 0.1 * i, 100 + i, f"r{i}") for i in range(count)]


@functools.cache
def _by_id(count: int) -> dict[str, Any]:
    return {str(i): {"logprob": v, "decoded_token": w} for v, i, w in _rivals(count)}


_WAITING = "vllm:num_requests_waiting"


def _id(word: str) -> int:
    return 1_000 + sum(word.encode())


@contextmanager
def serving(engine: FakeEngine) -> Iterator[str]:
    """Serve an engine; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            engine.keys.add(self.headers["authorization"])
            self._answer(*engine.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            engine.keys.add(self.headers["authorization"])
            with engine.lock:
                engine.at_once += 1
                engine.most_at_once = max(engine.most_at_once, engine.at_once)
            status, answer = engine.complete(self.path, body)
            with engine.lock:
                engine.at_once -= 1
            self._answer(status, answer)

        def _answer(self, status: int, body: bytes) -> None:
            if status == 0:  # the process is gone in the middle of the answer
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            if status >= 400 and engine.retry_after is not None:
                self.send_header("retry-after", engine.retry_after)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a client that waits no longer
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
