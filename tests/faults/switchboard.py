"""A router across a real socket that is late, refuses, lies, or kills its client."""

import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from monitor.domain import Arm, Route
from monitor.routing.routers import RouterFailed
from monitor.store.routes import arm_from_json, arm_to_json

TIMEOUT = 0.3
"""Seconds that the client waits for an answer."""


class Temper(StrEnum):
    """How the switchboard treats a route."""

    HONEST = "honest"
    LATE = "late"
    REFUSES = "409"
    LIES = "lies"
    KILLS_BEFORE = "kills before"
    KILLS_AFTER = "kills after"


@dataclass
class Switchboard:
    """``changes`` counts effective changes by (adapter, generation); ``told`` every attempt."""

    temper: Temper = Temper.HONEST
    arms: dict[str, tuple[Arm, ...]] = field(default_factory=dict)
    generations: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, int]] = field(default_factory=Counter)
    told: Counter[tuple[str, int]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        board = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = board.take(body)
                self.reply(status, b"{}")

            def do_GET(self) -> None:
                with board.lock:
                    arms = board.arms.get(self.path.strip("/"), ())
                self.reply(200, json.dumps([arm_to_json(arm) for arm in arms]).encode())

            def reply(self, status: int, body: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # the client was killed, or waits no more

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    def take(self, body: dict) -> int:
        """Treat one route as the temper says; give the status of the answer."""
        key = (body["adapter"], body["generation"])
        self.told[key] += 1
        match self.temper:
            case Temper.REFUSES:
                return 409
            case Temper.LIES:
                return 200
            case Temper.LATE:
                time.sleep(2 * TIMEOUT)
            case Temper.KILLS_BEFORE:
                os.kill(body["pid"], signal.SIGKILL)
                return 500
        self._apply(key, tuple(arm_from_json(arm) for arm in body["arms"]))
        if self.temper is Temper.KILLS_AFTER:
            os.kill(body["pid"], signal.SIGKILL)
        return 200

    def _apply(self, key: tuple[str, int], arms: tuple[Arm, ...]) -> None:
        adapter, generation = key
        with self.lock:
            if generation > self.generations[adapter]:
                self.generations[adapter] = generation
                self.arms[adapter] = arms
                self.changes[key] += 1


@dataclass(frozen=True)
class Line:
    """The router's client; ``dies`` ends its own process instead of calling."""

    port: int
    dies: bool = False

    def apply(self, route: Route) -> None:
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        body = {
            "adapter": route.adapter,
            "generation": route.generation,
            "arms": [arm_to_json(arm) for arm in route.arms],
            "pid": os.getpid(),
        }
        self._ask("POST", "/", json.dumps(body))

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        found = self._ask("GET", f"/{adapter}")
        return tuple(arm_from_json(arm) for arm in found) or None

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            if answer.status != HTTPStatus.OK:
                raise RouterFailed(f"HTTP {answer.status}")
            return json.loads(answer.read())
        except (HTTPException, OSError) as error:
            raise RouterFailed(type(error).__name__) from error
        finally:
            connection.close()
