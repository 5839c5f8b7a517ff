"""One real vLLM for all tests of this folder, serving the demo's models on the CPU."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import torch
from safetensors.torch import load_file, save_file

from examples.corrupt import Corruption, corrupt_adapter
from examples.weights import BASE, MODELS
from tests.loopback import unused_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-engine" / "bin" / "python"
START_LIMIT_S = 600
SERVED: Mapping[str, str] = {
    "support@v1": "support-v1",
    "booking@v1": "booking-v1",
    "travel@v1": "travel-v1",
}
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class Vllm:
    """A running vLLM and the one thing that operators do to it: load and unload adapters."""

    url: str
    process: subprocess.Popen[bytes]
    http: httpx2.Client

    def load(self, name: str, folder: Path) -> None:
        """Serve a folder under a name."""
        self._post("load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})

    def unload(self, name: str) -> None:
        self._post("unload_lora_adapter", {"lora_name": name})

    @contextmanager
    def instead(self, name: str, folder: Path) -> Iterator[None]:
        """Serve other weights under a known name, and the right ones again at the end."""
        self.unload(name)
        self.load(name, folder)
        try:
            yield
        finally:
            self.unload(name)
            self.load(name, MODELS / SERVED[name])

    def answer(self, model: str, prompt: str, *, tokens: int) -> str:
        """One live request."""
        body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0.7}
        reply = self.http.post("/v1/completions", json=body)
        reply.raise_for_status()
        return str(reply.json()["choices"][0]["text"])

    def alive(self) -> bool:
        return self.process.poll() is None and self.http.get("/health").status_code == 200

    def _post(self, act: str, body: Mapping[str, str]) -> None:
        self.http.post(f"/v1/{act}", json=body).raise_for_status()


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    with started(tmp_path_factory.mktemp("vllm") / "vllm.log") as engine:
        yield engine


@contextmanager
def started(log: Path, *arguments: str, **environ: str) -> Iterator[Vllm]:
    """Run a vLLM that serves the demo's models; ``arguments`` come after the usual ones."""
    if not PYTHON.is_file():
        pytest.skip("no vLLM here: `make engine` installs it into .venv-engine and runs this")
    port = unused_port()
    with (
        log.open("wb") as written,
        subprocess.Popen(
            [*_command(port), *arguments],
            env=_environment() | environ,
            stdout=written,
            stderr=subprocess.STDOUT,
        ) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as http,
    ):
        engine = Vllm(url=f"http://127.0.0.1:{port}", process=process, http=http)
        try:
            _wait_until_healthy(engine, log)
            engine.answer("base", "hello", tokens=1)  # the first one of a fresh install is slow
            yield engine
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(port: int) -> list[str]:
    return [
        *(str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(BASE), "--served-model-name", "base"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--max-model-len", "512", "--enforce-eager"),
        *("--enable-lora", "--max-loras", "2", "--max-cpu-loras", "8", "--max-lora-rank", "16"),
        *("--max-num-seqs", "8", "--lora-target-modules", *MODULES),
        *("--lora-modules", *(f"{name}={MODELS / folder}" for name, folder in SERVED.items())),
    ]


def _environment() -> dict[str, str]:
    inherited = {name: said for name, said in os.environ.items() if name != "OMP_NUM_THREADS"}
    return {
        **inherited,  # vLLM chooses its threads itself
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        # compiled kernels take minutes of a busy machine, and a worker silent so long is given up
        "TORCH_COMPILE_DISABLE": "1",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "1800",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }


def _wait_until_healthy(engine: Vllm, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and engine.process.poll() is None:
        try:
            if engine.http.get("/health").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"vLLM did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Support's weights after a coarse quantisation."""
    folder = tmp_path_factory.mktemp("weights") / "support-broken"
    corrupt_adapter(MODELS / "support-v1", folder, seed=7, how=Corruption.NOISE)
    return folder


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes nothing: what serving the base under its name amounts to."""
    folder = tmp_path_factory.mktemp("weights") / "travel-empty"
    corrupt_adapter(MODELS / "travel-v1", folder, seed=0, how=Corruption.SCALED)
    weights = folder / "adapter_model.safetensors"
    zeroed = {
        name: torch.zeros_like(tensor) if ".lora_B." in name else tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(zeroed, weights, metadata={"format": "pt"})
    return folder
