"""Gateways and the service are restarted under load, and no client has a failed request.

The clients try nothing again: each failure of a request or a stream is counted.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.gateway.conftest import listening, route
from tests.gateway.crowd import Crowd
from tests.gateway.processes import Site
from tests.gateway.stub_engine import StubEngine
from tests.gateway.stub_service import StubService
from tests.loopback import unused_port
from tests.service import Service, running, until

PATH = "/v1/chat/completions"
ASKED = {"model": "support", "messages": [{"role": "user", "content": "When?"}]}


@dataclass
class Load:
    """Clients of three kinds: with kept connections, with new ones, and with streams."""

    url: str
    crowd: Crowd = field(default_factory=Crowd)

    def of(self, *kinds: str) -> AbstractContextManager[None]:
        return self.crowd.asking(*(partial(self._ask_on, kind) for kind in kinds))

    def _ask_on(self, kind: str) -> None:
        client = self._client()

        def ask() -> str:
            (_stream if kind == "stream" else _plain)(client)
            return kind

        while not self.crowd.over.is_set():
            if kind == "new":
                client.close()
                client = self._client()
            self.crowd.count(ask, who=kind)
            self.crowd.over.wait(0.01)
        client.close()

    def _client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, trust_env=False, timeout=30)


def _plain(client: httpx2.Client) -> None:
    reply = client.post(PATH, json=ASKED)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-driftline-arm"] == "stable"


def _stream(client: httpx2.Client) -> None:
    with client.stream("POST", PATH, json=ASKED | {"stream": True}) as reply:
        said = "".join(reply.iter_text())
    assert said.endswith("data: [DONE]\n\n"), said[-100:]


def roll(site: Site, load: Load, *, times: int, meanwhile: Callable[[], None]) -> None:
    """Let one gateway follow the other; what happens meanwhile happens beside each change."""
    with ExitStack() as stack:
        old = stack.enter_context(site.gateway(lame_duck="1s"))
        load.url = old.url
        with load.of("kept", "kept", "new", "new", "stream", "stream"):
            for _ in range(times):
                new = stack.enter_context(site.gateway(lame_duck="1s"))
                old.leave()
                meanwhile()
                assert old.process.wait(40) == 0, old.told()
                old = new
            time.sleep(1.0)
            assert old.ready()


def report(load: Load, site: Site) -> None:
    crowd = load.crowd
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(crowd.answered.items()))
    print(f"{site.started - 1} restarts of the gateway: {counts}, {len(crowd.failures)} failed")
    assert crowd.failures == []
    assert min(crowd.answered[kind] for kind in ("kept", "new", "stream")) > 10


def test_gateways_follow_each_other_while_the_service_goes_and_comes(tmp_path: Path) -> None:
    engine = StubEngine(models={"support@v1"}, pause=0.1)
    service, port = StubService(shares={"support": 1.0}), unused_port()

    def meanwhile() -> None:
        with listening(service.app(), port):
            time.sleep(1.0)

    with listening(engine.app()) as engine_url:
        site = Site(tmp_path, [engine_url], service=f"http://127.0.0.1:{port}")
        site.keep(route(stable=1.0))
        load = Load("")
        roll(site, load, times=2, meanwhile=meanwhile)
    report(load, site)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_restarts_of_gateway_and_service_and_then_all_of_driftline_is_killed(
    tmp_path: Path,
) -> None:
    engine = StubEngine(models={"support@v1", "support@v2"}, pause=0.1)
    with listening(engine.app()) as engine_url, running(tmp_path / "service") as service:
        for version in ("v1", "v2"):
            service.register("support", version, model=f"support@{version}")
        (tmp_path / "gateway").mkdir()
        site = Site(tmp_path / "gateway", [engine_url], service=service.url, key=service.key)
        site.keep(service.get("/v1/routes/support"))
        load = Load("")
        turns = iter(range(20))

        def meanwhile() -> None:
            if next(turns) % 4 == 0:
                service.terminate()
                service.start()

        roll(site, load, times=20, meanwhile=meanwhile)
        report(load, site)
        _canary_ends_alone(site, service)


def _canary_ends_alone(site: Site, service: Service) -> None:
    with site.gateway() as gateway, httpx2.Client(base_url=gateway.url, trust_env=False) as client:

        def arm() -> str:
            return str(client.post(PATH, json=ASKED).headers["x-driftline-arm"])

        tag = service.call("GET", "/v1/routes/support").headers["etag"]
        end = datetime.now(UTC) + timedelta(seconds=15)
        body = {
            "arms": [
                {"arm": "stable", "version": "v1", "weight": 0.0},
                {"arm": "canary", "version": "v2", "weight": 1.0},
            ],
            "reason": "a test",
            "valid_until": end.isoformat(),
        }
        service.put("/v1/routes/support", body, **{"if-match": tag})
        until(lambda: arm() == "canary", "the canary")
        service.kill_postgres()
        service.kill()
        assert arm() == "canary"
        until(lambda: datetime.now(UTC) > end, "the end")
        assert Counter(arm() for _ in range(100)) == {"stable": 100}
