"""A receiver of the router ``webhook`` that is late, refuses, lies, or kills its client."""

import base64
import json
import os
import signal
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import Arm, Route
from monitor.traffic.routers.webhook import WebhookRouter, WebhookRouting
from tests.loopback import LOOPBACK
from tests.routed import Receiver, answering

SECRET = "whsec_" + base64.b64encode(b"between Driftline and its router").decode()
PATIENCE, IMPATIENCE = timedelta(seconds=30), timedelta(seconds=0.3)
"""How long an answer is waited for, and how long one that never comes."""


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
    """``changes`` counts effective changes by (adapter, generation); ``told`` every attempt.

    Clients call it at a path that is their process id: so it knows whom to kill.
    """

    temper: Temper = Temper.HONEST
    changes: Counter[tuple[str, int]] = field(default_factory=Counter)
    told: Counter[tuple[str, int]] = field(default_factory=Counter)
    _receiver: Receiver = field(default_factory=lambda: Receiver(secret=SECRET))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _goes_on: threading.Event = field(default_factory=threading.Event)
    _late: list[threading.Event] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)
    url: str = ""

    def __enter__(self) -> Self:
        self.url = self._open.enter_context(answering(self.respond))
        return self

    def __exit__(self, *_: object) -> None:
        self.catch_up()
        self._open.close()

    def line(self) -> WebhookRouter:
        """A client for this process; short of patience where no answer will come."""
        return line(self.url, IMPATIENCE if self.temper is Temper.LATE else PATIENCE)

    def catch_up(self) -> None:
        """Let what is late arrive now, and wait until it has."""
        self._goes_on.set()
        for one in self._late:
            assert one.wait(PATIENCE.total_seconds())
        self._late.clear()
        self._goes_on.clear()

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        if method == "GET":
            return self._receiver.respond(method, path, headers, body)
        pid = int(urlsplit(path).path.strip("/"))
        route = json.loads(body)
        key = (route["adapter"], route["generation"])
        self.told[key] += 1
        match self.temper:
            case Temper.REFUSES:
                return 409, b""
            case Temper.LIES:
                return 204, b""
            case Temper.LATE:
                return self._be_late(key, path, headers, body)
            case Temper.KILLS_BEFORE:
                os.kill(pid, signal.SIGKILL)
                return 500, b""
            case Temper.HONEST | Temper.KILLS_AFTER:
                pass
        answer = self._take(key, path, headers, body)
        if self.temper is Temper.KILLS_AFTER:
            os.kill(pid, signal.SIGKILL)
        return answer

    def _be_late(
        self, key: tuple[str, int], path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        done = threading.Event()
        self._late.append(done)
        self._goes_on.wait()
        answer = self._take(key, path, headers, body)
        done.set()
        return answer

    def _take(
        self, key: tuple[str, int], path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        adapter, generation = key
        with self._lock:
            before = self._receiver.held.get(adapter, {"generation": 0})["generation"]
            answer = self._receiver.respond("POST", path, headers, body)
            after = self._receiver.held.get(adapter, {"generation": 0})["generation"]
            self.changes[key] += before != after == generation
        return answer


def line(url: str, patience: timedelta = PATIENCE) -> WebhookRouter:
    """The product's own client of the board at ``url``, for this process."""
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, timeout=patience.total_seconds()))
    settings = WebhookRouting(url=f"{url}/{os.getpid()}", secret=SECRET, timeout=patience)
    return WebhookRouter(settings, client)


class Fatal:
    """A router that ends its own process instead of being told."""

    def prepare(self, versions: object) -> None:
        del versions

    def apply(self, route: Route) -> None:
        del route
        os.kill(os.getpid(), signal.SIGKILL)

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        raise AssertionError(f"nobody is left to ask about {adapter}")
