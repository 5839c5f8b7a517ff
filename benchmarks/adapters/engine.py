"""A real vLLM on this machine, and what operators do to it: load and unload adapters."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from benchmarks.adapters.ways.way import Setup
from examples.demo.processes import Process, free_port

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ROOT / ".venv-engine" / "bin" / "python"
BASE_NAME: Final = "base"
MODULES: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
START_S: Final = 600.0
OF_GPU: Final = 0.28
"""Share of a GPU's memory that an engine takes: up to three run at a time."""
ENVIRON: Final[Mapping[str, str]] = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_SERVER_DEV_MODE": "1",  # lets the prefix cache be reset
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "1800",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}

HITS = "vllm:prefix_cache_hits_total"


class NoEngineError(RuntimeError):
    """There is no vLLM here to be started."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Engine:
    """A running vLLM."""

    url: str
    process: Process
    http: httpx2.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.process.stop()

    @property
    def port(self) -> int:
        """Where it listens on the loopback interface."""
        return int(self.url.rpartition(":")[2])

    def load(self, name: str, folder: Path) -> None:
        """Serve a folder under a name."""
        self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})

    def unload(self, name: str) -> None:
        """Serve nothing under a name."""
        self._post("/v1/unload_lora_adapter", {"lora_name": name})

    def forget(self) -> None:
        """Empty the prefix cache, as who reloads a name has to."""
        self._post("/reset_prefix_cache", {})

    @property
    def cache_hits(self) -> int:
        """Tokens of prompts that were read from the prefix cache, since it started."""
        counts = [
            float(line.rpartition(" ")[2])
            for line in self.http.get("/metrics").raise_for_status().text.splitlines()
            if line.startswith(HITS)
        ]
        return int(sum(counts))

    def ask(self, body: Mapping[str, Any]) -> Any:
        """One chat request past every gateway."""
        return self._post("/v1/chat/completions", body).json()

    @property
    def version(self) -> str:
        """What it says it is."""
        return f"vllm {self.http.get('/version').json()['version']}"

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        return self.http.post(path, json=body).raise_for_status()


def start_engine(
    setup: Setup, adapters: Mapping[str, Path], *, log: Path, gpu: bool = False
) -> Engine:
    """Start a vLLM with these adapters; it takes minutes until it is ready.

    Raises
    ------
    NoEngineError
        `make engine` has not installed one, and ``DRIFTLINE_ENGINE_PYTHON`` names none.
    """
    python = Path(os.environ.get("DRIFTLINE_ENGINE_PYTHON", PYTHON))
    if not python.is_file():
        raise NoEngineError(f"no vLLM at {python}: `make engine` installs it there")
    port = free_port()
    arguments = _arguments(setup, adapters, port=port, gpu=gpu)
    inherited = {name: said for name, said in os.environ.items() if name != "OMP_NUM_THREADS"}
    inherited.pop("PYTHONPATH", None)
    with log.open("wb") as output:
        handle = subprocess.Popen(
            [str(python), "-m", "vllm.entrypoints.openai.api_server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **ENVIRON, **setup.environ},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    return Engine(
        url=url,
        process=Process(name="engine", log=log, handle=handle),
        http=httpx2.Client(base_url=url, trust_env=False, timeout=600),
    )


def wait_for(engine: Engine, model: str) -> None:
    """Wait until it answers; the first answer of a fresh process is slow."""
    engine.process.wait_until_ready(f"{engine.url}/health", seconds=START_S)
    message = {"role": "user", "content": "hello"}
    engine.ask({"model": model, "messages": [message], "max_tokens": 1})


def _arguments(setup: Setup, adapters: Mapping[str, Path], *, port: int, gpu: bool) -> list[str]:
    overrides = ("--hf-overrides", json.dumps(dict(setup.config))) if setup.config else ()
    return [
        *("--model", str(setup.model), "--served-model-name", BASE_NAME),
        *("--host", "127.0.0.1", "--port", str(port), "--dtype", setup.dtype),
        *("--max-model-len", "512", "--max-num-seqs", "24", "--block-size", "32"),
        *("--enable-lora", "--max-loras", "4", "--max-cpu-loras", "12", "--max-lora-rank", "8"),
        *("--lora-target-modules", *MODULES),
        *("--lora-modules", *(f"{name}={folder}" for name, folder in adapters.items())),
        *(("--gpu-memory-utilization", str(OF_GPU)) if gpu else ("--enforce-eager",)),
        *overrides,
        *setup.arguments,
    ]
