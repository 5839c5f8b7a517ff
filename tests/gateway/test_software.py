"""Which software an engine is: asked beside the requests, and again after it was away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from monitor.gateway import software
from monitor.gateway.engines import ReplicaGroup, Unreachable
from monitor.gateway.settings import GatewaySettings
from tests.gateway.conftest import listening
from tests.gateway.stub_engine import StubEngine
from tests.loopback import Behaviour, Receiver, answer, unused_port

SGLANG = answer(200, body=b'{"version": "0.5.23", "api_key": "secret", "max": Infinity}')
NONE = answer(404)
VLLM = answer(200, body=b'{"version": "0.32.0"}')
PLACES = b'vllm:lora_requests_info{max_lora="3",running_lora_adapters="a"} 1.0\n'


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[tuple[ReplicaGroup, software.SoftwareKeeper]]:
    settings = GatewaySettings(upstreams=(url,), engine_key="k")
    engines = ReplicaGroup(settings)
    await engines.open()
    try:
        yield engines, software.SoftwareKeeper(engines, settings=settings)
    finally:
        await engines.close()


@pytest.mark.parametrize(
    ("pages", "named"),
    [([NONE, SGLANG], "sglang 0.5.23"), ([NONE, NONE], ""), ([answer(200, body=b"<p>")], "")],
    ids=["sglang", "tells nothing", "no JSON"],
)
def test_engines_are_named_by_what_they_tell(pages: Sequence[Behaviour], named: str) -> None:
    async def ask(url: str) -> str | None:
        async with asking(url) as (engines, keeper):
            await keeper.look()
            return str(engines.all[0].software)

    with Receiver(pages) as engine:
        assert asyncio.run(ask(f"http://127.0.0.1:{engine.port}")) == named
        assert [seen.headers["authorization"] for seen in engine.seen] == ["Bearer k"] * len(
            engine.seen
        )


@pytest.mark.parametrize(
    ("page", "places"),
    [(answer(200, body=PLACES), 3), (answer(200, body=b"up 1\n"), 0), (NONE, 0)],
    ids=["told", "not told", "no metrics"],
)
def test_vllm_tells_how_many_adapters_it_holds(page: Behaviour, places: int) -> None:
    async def ask(url: str) -> tuple[str | None, int]:
        async with asking(url) as (engines, keeper):
            await keeper.look()
            return engines.all[0].software, engines.all[0].places

    with Receiver([VLLM, page]) as engine:
        assert asyncio.run(ask(f"http://127.0.0.1:{engine.port}")) == ("vllm 0.32.0", places)


def test_an_engine_that_was_away_is_asked_again_and_one_that_is_known_is_left_alone() -> None:
    async def watch(port: int) -> list[str | None]:
        seen = []
        async with asking(f"http://127.0.0.1:{port}") as (engines, keeper):
            (engine,) = engines.all
            for version in ("0.32.0", "0.33.0"):
                stub = StubEngine(version=version)
                with listening(stub.app(), port):
                    await keeper.look()
                    stub.version = "asked too often"
                    await keeper.look()
                    seen.append(engine.software)
                with suppress(Unreachable):
                    await engines.ask(engine, "GET", "/", headers=[], body=b"")
                await keeper.look()
                seen.append(engine.software)
        return seen

    found = asyncio.run(watch(unused_port()))
    assert found == ["vllm 0.32.0", None, "vllm 0.33.0", None]
