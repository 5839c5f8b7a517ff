"""Do adapters settle on replicas, so that engines stop fetching them?"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from monitor.gateway import residents
from monitor.gateway.running import assemble
from monitor.gateway.settings import GatewaySettings
from tests.gateway.conftest import listening, route
from tests.gateway.stub_engine import StubEngine
from tests.loopback import unused_port

PLACES = 3
LOAD = 0.03
"""Seconds."""
ADAPTERS = tuple("abcdef")


@dataclass
class SmallEngine(StubEngine):
    """An engine with three places for adapters; it fetches one that it does not hold."""

    resident: dict[str, None] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)

    async def _chat(self, request: Request) -> Response:
        await self._fetch(json.loads(await request.body())["model"])
        return await super()._chat(request)

    async def _complete(self, request: Request) -> Response:
        await self._fetch(json.loads(await request.body())["model"])
        return await super()._complete(request)

    async def _fetch(self, model: str) -> None:
        if model not in self.resident:
            self.loads.append(model)
            await asyncio.sleep(LOAD)
        self.resident.pop(model, None)
        self.resident[model] = None
        while len(self.resident) > PLACES:
            del self.resident[next(iter(self.resident))]


@pytest.fixture
def engines() -> list[SmallEngine]:
    models = {f"{name}@v1" for name in ADAPTERS}
    return [SmallEngine(models=set(models)) for _ in range(2)]


@pytest.fixture
def gateway(
    engines: list[SmallEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setattr(residents, "LOOK", 0.1)
    with ExitStack() as stack:
        urls = [stack.enter_context(listening(one.app())) for one in engines]
        cache = tmp_path / "routes.json"
        cache.write_text(json.dumps([route(name, stable=1.0) for name in ADAPTERS]))
        settings = GatewaySettings(
            upstreams=tuple(urls),
            service=f"http://127.0.0.1:{unused_port()}",
            resident_adapters=PLACES,
        )
        yield stack.enter_context(listening(assemble(settings, cache=cache)))


def ask(gateway: str, count: int, *, drawn: random.Random) -> None:
    """Ask one after the other, sometimes twice for the same: both kinds of switch are seen."""
    with httpx2.Client(base_url=gateway, trust_env=False, timeout=30) as client:
        for _ in range(count):
            name = drawn.choice(ADAPTERS)
            for _ in range(2):
                body = {"model": name, "messages": [], "stream": True, "max_tokens": 1}
                assert client.post("/v1/chat/completions", json=body).status_code == 200


def kept(gateway: str) -> int:
    """The number of versions that the gateway keeps loaded."""
    shown = httpx2.get(f"{gateway}/metrics", trust_env=False).text
    gauges = [line for line in shown.splitlines() if "gateway_keep_loaded{" in line]
    return sum(line.endswith(" 1.0") for line in gauges)


def test_adapters_settle_where_they_are_held(gateway: str, engines: list[SmallEngine]) -> None:
    drawn = random.Random(5)  # noqa: S311 - an order, not a secret
    asked = 0
    while kept(gateway) < len(ADAPTERS):
        ask(gateway, 20, drawn=drawn)
        asked += 20
    while_learning = sum(len(one.loads) for one in engines) / asked
    assert while_learning > 1 / 2, "two replicas hold three adapters each of six"
    ask(gateway, 20, drawn=drawn)
    settled = sum(len(one.loads) for one in engines)
    ask(gateway, 120, drawn=drawn)
    after = (sum(len(one.loads) for one in engines) - settled) / 120

    assert after < while_learning / 4
    assert {len(one.resident) for one in engines} == {PLACES}
