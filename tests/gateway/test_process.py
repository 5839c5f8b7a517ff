"""``driftline gateway`` as a process: what is under way is finished."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from monitor.config import Config, ConfigError
from monitor.daemon.gateway import settings_of
from tests.gateway.conftest import listening, route
from tests.gateway.stub_engine import StubEngine
from tests.loopback import unused_port
from tests.service import ROOT, until


def test_a_stream_is_finished_after_the_stop_signal(tmp_path: Path) -> None:
    engine = StubEngine(models={"support@v1"}, pause=0.2)
    port = unused_port()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gateway-routes.json").write_text(json.dumps([route(stable=1.0)]))
    url = f"http://127.0.0.1:{port}"
    with listening(engine.app()) as engine_url, (tmp_path / "log").open("wb") as log:
        config = tmp_path / "config.toml"
        config.write_text(
            f'[service]\ndata_dir = "{tmp_path / "data"}"\n'
            f'[serving]\nengines = ["{engine_url}"]\n'
            f"[server]\nport = {unused_port()}\n[gateway]\nport = {port}\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor", "gateway", "-c", str(config)],
            cwd=ROOT,
            env=dict(os.environ),
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: process.poll() is not None or _ready(url), "the gateway answers")
            body = {"model": "support", "messages": [], "stream": True}
            with (
                httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
                client.stream("POST", "/v1/chat/completions", json=body) as reply,
            ):
                pieces = reply.iter_text()
                said = next(pieces)
                process.send_signal(signal.SIGTERM)
                said += "".join(pieces)
            assert said.endswith("data: [DONE]\n\n")
            process.wait(20)
        finally:
            process.kill()
            process.wait()
    told = (tmp_path / "log").read_text()
    assert process.returncode in {0, -signal.SIGTERM}, told
    assert "Traceback" not in told


def _ready(url: str) -> bool:
    try:
        return bool(httpx2.get(f"{url}/readyz", trust_env=False).is_success)
    except httpx2.TransportError:
        return False


def test_a_gateway_without_engines_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="name the engines"):
        settings_of(Config())
