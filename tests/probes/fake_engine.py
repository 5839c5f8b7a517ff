"""A vLLM-like engine on the loopback: its JSON shapes, its state, and faults on request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeEngine:
    """Scores a prompt of n words as n + 1 tokens of 0.5 nats, the first one unconditioned.

    ``fail_at`` answers the n-th completion (from 1) with ``status`` and every later one
    too: an engine that died stays dead.
    """

    models: list[dict[str, str | None]] = field(
        default_factory=lambda: [
            {"id": "base", "parent": None},
            {"id": "support@v7", "parent": "base"},
        ]
    )
    knows: frozenset[str] = frozenset({"prompt_logprobs", "echo"})
    waiting: float = 0.0
    metrics: bool = True
    longest: int = 512
    fail_at: int | None = None
    status: int = 500
    nll: float = 0.5
    completions: list[dict[str, Any]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str) -> tuple[int, bytes]:
        match path:
            case "/v1/models":
                return 200, json.dumps({"object": "list", "data": self.models}).encode()
            case "/version":
                return 200, b'{"version": "0.32.0"}'
            case "/metrics" if self.metrics:
                line = f'vllm:num_requests_waiting{{engine="0",model_name="base"}} {self.waiting}'
                return 200, f"# HELP vllm:num_requests_waiting x\n{line}\n".encode()
        return 404, b'{"detail":"Not Found"}'

    def complete(self, body: dict[str, Any]) -> tuple[int, bytes]:
        with self.lock:
            self.completions.append(body)
            number = len(self.completions)
        if self.fail_at is not None and number >= self.fail_at:
            return self.status, b'{"error": {"message": "EngineDeadError"}}'
        words = body["prompt"].split()
        if len(words) > self.longest:
            said = f"This model's maximum context length is {self.longest} tokens."
            return 400, json.dumps({"error": {"message": said, "code": 400}}).encode()
        choice: dict[str, Any] = {"index": 0, "text": " the", "logprobs": None}
        if "prompt_logprobs" in body and "prompt_logprobs" in self.knows:
            entry = {"logprob": -self.nll, "rank": 1, "decoded_token": "x"}
            choice["prompt_logprobs"] = [None, *({str(300 + i): entry} for i in range(len(words)))]
        if body.get("echo") and "echo" in self.knows:
            count = len(words) + 1
            choice["logprobs"] = {
                "tokens": ["x"] * count,
                "token_logprobs": [None, *[-self.nll] * len(words)],
                "text_offset": list(range(count)),
                "top_logprobs": [None] * count,
            }
        return 200, json.dumps({"object": "text_completion", "choices": [choice]}).encode()


@contextmanager
def serving(engine: FakeEngine) -> Iterator[str]:
    """Serve an engine; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(*engine.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with engine.lock:
                engine.at_once += 1
                engine.most_at_once = max(engine.most_at_once, engine.at_once)
            status, answer = engine.complete(body)
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
            self.end_headers()
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
