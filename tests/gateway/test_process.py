"""``driftline gateway`` as a process: what is under way is finished, what is kept is gone by."""

import json
import socket
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from monitor.config.parts import GatewayPart
from monitor.config.reading import ConfigError
from monitor.daemon.gateway import settings_of
from tests.cli.command import process
from tests.gateway.conftest import listening, route
from tests.gateway.processes import Site
from tests.gateway.stub_engine import StubEngine
from tests.gateway.stub_service import StubService
from tests.service import until


def test_without_driftline_it_ends_a_canary_and_finishes_a_stream_after_the_stop_signal(
    tmp_path: Path,
) -> None:
    engine = StubEngine(models={"support@v1", "booking@v1", "booking@v2"})
    service = StubService()
    with listening(engine.app()) as engine_url, ExitStack() as driftline:
        url = driftline.enter_context(listening(service.app()))
        site = Site(tmp_path, [engine_url], service=url)
        site.keep(route(stable=1.0), route("booking", stable=1.0))
        with (
            site.gateway(lame_duck="500ms") as gateway,
            httpx2.Client(base_url=gateway.url, trust_env=False, timeout=30) as client,
        ):

            def arm() -> str:
                asked = {"model": "booking", "messages": []}
                reply = client.post("/v1/chat/completions", json=asked)
                return str(reply.headers["x-driftline-arm"])

            short = timedelta(seconds=6)
            canary = route("booking", generation=2, stable=0.0, canary=1.0, valid_for=short)
            service.routes = [canary]
            until(lambda: arm() == "canary", "the canary begins")
            driftline.close()
            assert arm() == "canary"
            until(lambda: arm() == "stable", "nobody but the gateway is there to end it")
            engine.pause = 0.3
            body = {"model": "support", "messages": [], "stream": True}
            with client.stream("POST", "/v1/chat/completions", json=body) as reply:
                pieces = reply.iter_text()
                said = next(pieces)
                gateway.leave()
                until(lambda: not gateway.ready(), "it says that it is about to end")
                said += "".join(pieces)
            assert said.endswith("data: [DONE]\n\n")
            assert gateway.process.wait(20) == 0
    assert "Traceback" not in gateway.told()


TELLS = """
import json, sys
from monitor.cli import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), flush=True)
"""


def test_a_gateway_that_samples_has_loaded_no_database_and_no_detector(tmp_path: Path) -> None:
    engine, service = StubEngine(models={"support@v1"}), StubService()
    with listening(engine.app()) as engine_url, listening(service.app()) as service_url:
        site = Site(tmp_path, [engine_url], service=service_url, key="dl_0")
        site.command = (sys.executable, "-c", TELLS)
        site.keep(route(stable=1.0))
        service.shares = {"support": 1.0}
        with site.gateway(lame_duck="0s") as gateway:
            url = f"{gateway.url}/v1/chat/completions"
            asked = {"model": "support", "messages": [{"role": "user", "content": "hello"}]}

            def recorded() -> bool:
                httpx2.post(url, json=asked, trust_env=False)
                return bool(service.records)

            until(recorded, "a record came")
            gateway.leave()
            assert gateway.process.wait(20) == 0
    loaded = set(json.loads(gateway.told().splitlines()[-1]))
    assert "monitor.gateway.running" in loaded
    unused = {"sqlalchemy", "psycopg", "alembic", "detectors", "scipy", "pandas", "opentelemetry"}
    assert loaded & unused == set()


def test_a_gateway_without_engines_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="name the engines"):
        settings_of(GatewayPart())


def test_a_port_that_somebody_else_has_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environ = {
            "DRIFTLINE_GATEWAY__PORT": str(port),
            "DRIFTLINE_SERVING__ENGINES": '["http://127.0.0.1:9"]',
        }
        ran = process("gateway", environ=environ)
    assert ran.code != 0
    assert f"gateway.port: cannot listen at 127.0.0.1:{port}: Address already in use" in ran.err
    assert "Traceback" not in ran.err
