"""One service for all commands: one adapter is quiet, one drifts, one is broken."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from safetensors.torch import load_file, save_file

from examples.corrupt import Corruption, corrupt_adapter
from examples.weights import DemoAdapter
from tests.cli.command import ROOT, Ran, driftline, process
from tests.inbox import Inbox
from tests.loopback import unused_port
from tests.service import CALM, Service, Talk, baseline, running, until
from tests.sharing import of_folder

Run = Callable[..., Ran]

QUIET, DRIFTS, BROKEN = "quiet", "drifts", "broken"
HOSTILE = "acme/[bold]evil[/bold]\x1b]0;owned\x07"
"""A name with a slash, with markup and with an escape that sets a terminal's title."""


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Service:
    return of_folder(request, lambda: _told_of_three(tmp_path_factory.mktemp("cli")))


@contextmanager
def _told_of_three(folder: Path) -> Iterator[Service]:
    with Inbox() as inbox, running(folder, inbox=inbox, changes=CALM) as started:
        for adapter in (QUIET, DRIFTS, BROKEN):
            # each on a base of its own: two that break are no common cause here
            started.register(adapter, "v1", base_model=f"base of {adapter}")
        started.upload(QUIET, "v1", baseline(1_000))
        started.upload(BROKEN, "v1", baseline(1_000, seed=2))
        # two weekdays do not show how days differ: soft evidence opens a ticket, never a page
        started.upload(DRIFTS, "v1", two_weekdays(1_000))
        _talk(started, QUIET, shift=0.0, until_verdict="stable")
        _talk(started, DRIFTS, shift=4.0, until_verdict="drifting")
        _talk(started, BROKEN, shift=4.0, until_verdict="critical")
        yield started


def two_weekdays(count: int) -> list[dict[str, Any]]:
    """A baseline of the last 20 hours, and of the same hours a week ago."""
    lines = baseline(count, days=20.0 / 24.0, seed=3)
    for line in lines[::2]:
        line["at"] = (datetime.fromisoformat(line["at"]) - timedelta(days=7)).isoformat()
    return lines


def _talk(service: Service, adapter: str, *, shift: float, until_verdict: str) -> None:
    talk = Talk(adapter)

    def found() -> bool:
        service.send(talk.records(100, shift=shift))
        return bool(service.evaluate(adapter)["verdict"] == until_verdict)

    until(found, f"{adapter} is {until_verdict}")


def _told(service: Service) -> dict[str, str]:
    return {
        "DRIFTLINE_URL": service.url,
        "DRIFTLINE_KEY": service.key,
        "DRIFTLINE_SERVICE__DATA_DIR": str(service.data_dir),
    }


@pytest.fixture
def run(service: Service, tmp_path: Path) -> Run:
    """``driftline``, told of the service by the environment."""
    return lambda *words: driftline(*words, environ=_told(service), cwd=tmp_path)


@pytest.fixture
def alone(service: Service, tmp_path: Path) -> Run:
    """The same as a process of its own, for commands that open the database."""
    return lambda *words: process(*words, environ=_told(service), cwd=tmp_path)


# --- the demo's engine, with adapters that are as they should be and others that are not ----


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Serve right, unapplied, mixed up and damaged adapters of the demo; gives the address."""
    return of_folder(request, lambda: _engine(tmp_path_factory.mktemp("adapters")))


@contextmanager
def _engine(folder: Path) -> Iterator[str]:
    unapplied = zeroed(DemoAdapter.SUPPORT_V1.path, folder / "unapplied")
    scaled = folder / "scaled"
    corrupt_adapter(DemoAdapter.SUPPORT_V1.path, scaled, seed=7, how=Corruption.SCALED)
    served = {
        "support@v1": DemoAdapter.SUPPORT_V1.path,
        "support@v2": DemoAdapter.SUPPORT_V2.path,
        "travel@v1": DemoAdapter.TRAVEL_V1.path,
        "booking": DemoAdapter.TRAVEL_V1.path,
        "unapplied@v1": unapplied,
        "scaled@v1": scaled,
    }
    with demo_engine(served) as url:
        yield url


def zeroed(source: Path, target: Path) -> Path:
    """Copy an adapter with B = 0: the base model under the adapter's name."""
    shutil.copytree(source, target)
    weights = load_file(source / "adapter_model.safetensors")
    kept = {name: w.zero_() if ".lora_B." in name else w for name, w in weights.items()}
    save_file(kept, target / "adapter_model.safetensors", metadata={"format": "pt"})
    return target


@contextmanager
def demo_engine(served: Mapping[str, Path]) -> Iterator[str]:
    """Serve adapters over the demo's base on a free port until the body ends."""
    port = unused_port()
    words = [word for name, path in served.items() for word in ("--adapter", f"{name}={path}")]
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.engine", "--port", str(port), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env=dict(os.environ) | {"OMP_NUM_THREADS": "1"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: healthy(url, process), "the demo's engine is healthy", patience=120)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def healthy(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the demo's engine ended"
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"{url}/health", trust_env=False).status_code == 200
    return False
