"""A gateway and engines on real sockets, in threads of this process."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from monitor.connections import Door
from monitor.gateway.running import assemble
from monitor.gateway.settings import GatewaySettings
from monitor.patience import ConnectionSettings
from tests.gateway.stub_engine import StubEngine
from tests.gateway.stub_service import StubService
from tests.loopback import PLAIN, unused_port


@contextmanager
def listening(app: Any, port: int = 0) -> Iterator[str]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        http=Door(ConnectionSettings()).protocol(),
        ws="none",
        log_level="warning",
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server ended while starting"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        assert not thread.is_alive(), "the server does not end"


def route(
    adapter: str = "support",
    *,
    generation: int = 1,
    valid_for: timedelta | None = None,
    **weights: float,
) -> dict[str, Any]:
    """A route in JSON; ``stable=.5, canary=.5`` are arms, of versions v1, v2, v0 and v3."""
    versions = {"stable": "v1", "canary": "v2", "fallback": "v0", "shadow": "v3"}
    now = datetime.now(UTC)
    return {
        "adapter": adapter,
        "generation": generation,
        "arms": [
            {
                "arm": arm,
                "version": versions[arm],
                "model": f"{adapter}@{versions[arm]}",
                "weight": weight,
            }
            for arm, weight in weights.items()
        ],
        "reason": "a test",
        "since": now.isoformat(),
        "valid_until": None if valid_for is None else (now + valid_for).isoformat(),
        "on_expiry": "stable",
    }


@dataclass(kw_only=True)
class Stage:
    """A gateway before engines."""

    url: str
    engines: list[StubEngine] = field(default_factory=list)
    engine_urls: Sequence[str] = ()
    service_url: str = ""

    @property
    def engine(self) -> StubEngine:
        return self.engines[0]

    def client(self, **more: Any) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, trust_env=False, verify=PLAIN, timeout=30, **more)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that have these labels."""
        with self.client() as client:
            exposition = client.get("/metrics").text
        return sum(
            sample.value
            for family in text_string_to_metric_families(exposition)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


Start = Callable[..., Stage]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a gateway with these routes kept on disk, before so many engines."""
    with ExitStack() as stack:

        def started(
            routes: Sequence[Any],
            engines: int = 1,
            *,
            service: str | StubService | None = None,
            **settings: Any,
        ) -> Stage:
            stubs = [StubEngine() for _ in range(engines)]
            for stub in stubs:
                stub.models = {arm["model"] for one in routes for arm in one["arms"]} | {"base"}
            urls = [stack.enter_context(listening(stub.app())) for stub in stubs]
            cache = tmp_path / "gateway-routes.json"
            cache.write_text(json.dumps(routes))
            if isinstance(service, StubService):  # ends after the gateway, which tells it the last
                service = stack.enter_context(listening(service.app()))
            service = service or f"http://127.0.0.1:{unused_port()}"
            defaults: dict[str, Any] = {"upstreams": tuple(urls), "service": service}
            app = assemble(GatewaySettings(**(defaults | settings)), cache=cache)
            return Stage(
                url=stack.enter_context(listening(app)),
                engines=stubs,
                engine_urls=urls,
                service_url=service,
            )

        yield started
