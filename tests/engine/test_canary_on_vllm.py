"""A real vLLM behind the gateway: a bad version on trial goes back, and no client notices."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.texts import Domain, Part, part
from tests.engine.conftest import Vllm
from tests.gateway.crowd import Crowd
from tests.gateway.processes import GatewayProcess, Site
from tests.inbox import Inbox
from tests.service import Service, running, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

USERS = 6
LONG = 300.0
"""Seconds for what takes a second beside an idle engine."""
TOKENS = 24


@dataclass
class Clients:
    """Users who ask for ``support`` all the time, half of them with streams."""

    gateway: GatewayProcess
    crowd: Crowd = field(default_factory=Crowd)

    def asking(self) -> AbstractContextManager[None]:
        return self.crowd.asking(*(partial(self._ask_on, number) for number in range(USERS)))

    def _ask_on(self, number: int) -> None:
        prompts = [pair.prompt for pair in part(Domain.SUPPORT, Part.LIVE)][number::USERS]
        with httpx2.Client(base_url=self.gateway.url, trust_env=False, timeout=120) as client:
            for turn, prompt in enumerate(prompts * 100):
                if self.crowd.over.is_set():
                    return
                body: dict[str, Any] = {
                    "model": "support",
                    "messages": [{"role": "user", "content": prompt}],
                    "max_tokens": TOKENS,
                    "temperature": 0.7,
                    "stream": number % 2 == 0,
                    "user": f"user-{number}-{turn}",
                }
                self.crowd.count(partial(_version_of, client, body), who=body["user"])


def _version_of(client: httpx2.Client, body: dict[str, Any]) -> str:
    """Ask, and give the version that has answered."""
    with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        said = "".join(reply.iter_text())
    assert reply.status_code == 200, said[:300]
    assert "top_logprobs" not in said
    assert not body["stream"] or said.endswith("data: [DONE]\n\n"), said[-300:]
    return str(reply.headers["x-driftline-version"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, vllm: Vllm) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("s")
    changes = {
        "service.mode": "auto",
        "serving.engines": f'["{vllm.url}"]',
        "serving.register": "false",  # with its folder, the bad version's files would be inspected
        "capture.target_per_day": "100000000",
        "probes.embedding.model": str(folder / "no-such-model"),
        "canary.interval": "2s",
        "canary.lag": "1s",
        "canary.weights": "[0.5]",
        "canary.lasts": '["10s"]',
        "canary.extensions": "30",
    }
    with Inbox() as inbox, running(folder, inbox=inbox, changes=changes) as started:
        yield started


def test_the_bad_version_is_rolled_back_and_clients_never_see_an_error(
    tmp_path: Path, vllm: Vllm, broken: Path, service: Service
) -> None:
    vllm.load("support@bad", broken)
    for name in ("v1", "bad"):
        service.register("support", name, model=f"support@{name}", base_model="base")
    site = Site(tmp_path, [vllm.url], service=service.url, key=service.key)
    site.keep(service.get("/v1/routes/support"))
    try:
        with site.gateway() as gateway:
            clients = Clients(gateway)
            crowd = clients.crowd
            with clients.asking():
                until(lambda: crowd.answered["v1"] > 10, "answers", patience=LONG)
                begun = service.call(
                    "POST",
                    "/v1/canaries",
                    json={
                        "adapter": "support",
                        "version": "bad",
                        "unchecked": ["weights", "applied", "perplexity"],
                    },
                )
                assert begun.status_code == 201, begun.text
                path = f"/v1/canaries/{begun.json()['canary']}"
                until(
                    lambda: service.get(path)["phase"] == "rolled_back",
                    "it is rolled back",
                    patience=LONG,
                )
                until(lambda: _only_v1(crowd), "nobody is asked to bear it", patience=LONG)
    finally:
        vllm.unload("support@bad")
    found = service.get(path)
    assert found["latched"]
    assert crowd.failures == []
    assert crowd.answered["bad"] > 10
    weights = {look["weight"] for look in found["looks"]}
    assert weights == {0.0, 0.5}
    [stable] = service.get("/v1/routes/support")["arms"]
    assert (stable["version"], stable["weight"]) == ("v1", 1.0)
    assert vllm.alive()
    print(f"{dict(crowd.answered)}, 0 failed; {found['reason']}")


def _only_v1(crowd: Crowd) -> bool:
    """Whether the next 20 answers all come from v1."""
    before = crowd.answered.copy()
    until(lambda: crowd.answered.total() >= before.total() + 20, "more answers", patience=LONG)
    return crowd.answered["bad"] == before["bad"]
