"""The idle service without models: how much memory, and how soon it is ready."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sqlalchemy.engine import make_url

from benchmarks.row import Figure, Row, at_most
from benchmarks.server import postgres

STARTS = 3
IDLE_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
_PEERS = ("evidently", "sentence_transformers")
_LIMIT = (
    "import numpy, sqlalchemy.dialects.postgresql, psycopg, fastapi, uvicorn, uvloop, typer,"
    " jinja2, structlog, prometheus_client, re2, httpx2, anyio._backends._asyncio, rich.console,"
    " apscheduler.schedulers.background"
)
"""The packages that a service is made of."""
TIMES_PACKAGES = 1.6
_SELF = (
    "import os, resource, time; print(time.process_time(),"
    " open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process has cost when it is ready: wall and CPU seconds, resident MB."""

    wall: float
    cpu: float
    megabytes: float


def run() -> Sequence[Row]:
    """Start the service on a ready database several times; import the peers' libraries."""
    with postgres() as database, tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder:
        url = make_url(database.engine.url).render_as_string(hide_password=False)
        starts = [_start(url, Path(folder) / str(turn)) for turn in range(STARTS)]
    peers = {name: _import(f"import {name}") for name in _PEERS}
    limit = _import(_LIMIT)
    memory = median(cost.megabytes for cost in starts)
    ready = median(cost.wall for cost in starts)
    return [
        Row(
            number=15,
            metric="idle service without models: memory",
            ours=_megabytes(f"driftline serve, after {IDLE_SECONDS:g} s idle", memory),
            goals=(
                at_most(
                    f"{TIMES_PACKAGES:g} × the limit",
                    value=memory / limit.megabytes,
                    ceiling=TIMES_PACKAGES,
                    unit="×",
                ),
            ),
            peers=tuple(
                _megabytes(f"import {name}", cost.megabytes) for name, cost in peers.items()
            ),
            limit=_megabytes("import of its packages alone", limit.megabytes),
            note="resident memory of the one process, all roles, no adapter registered. The"
            " first score loads scipy.special: 24 MB more; the first start of all, Alembic: 9 MB."
            " The embedding probe is a process of its own and starts at first use.",
        ),
        Row(
            number=15,
            metric="idle service without models: from start to /readyz = 200, database running",
            ours=_seconds("driftline serve", ready, "wall"),
            goals=(at_most("2 s", value=ready, ceiling=2.0, unit="s wall"),),
            peers=tuple(
                _seconds(f"import {name}", cost.cpu, "CPU") for name, cost in peers.items()
            ),
            limit=_seconds("import of its packages alone", limit.cpu, "CPU"),
            note=f"median of {STARTS} starts; {median(cost.cpu for cost in starts):.2f} s of CPU."
            " The database is at head already; the first start of all migrates it first.",
        ),
    ]


def _start(url: str, folder: Path) -> Cost:
    with running(folder, DRIFTLINE_DATABASE__URL=url) as (process, address):
        begin = time.monotonic()
        wait_ready(process, address, folder)
        wall, cpu = time.monotonic() - begin, cpu_seconds(process.pid)
        time.sleep(IDLE_SECONDS)
        return Cost(wall=wall, cpu=cpu, megabytes=resident(process.pid))


@contextmanager
def running(folder: Path, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the service with ``more`` settings; give its process and the address that is ready."""
    folder.mkdir()
    port = _free_port()
    settings = {
        **more,
        "DRIFTLINE_SERVICE__DATA_DIR": str(folder / "data"),
        "DRIFTLINE_SERVER__PORT": str(port),
        "PYTHONPATH": str(Path.cwd()),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor", "serve"],
            cwd=folder,
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process, f"http://127.0.0.1:{port}/readyz"
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_ready(process: subprocess.Popen[bytes], address: str, folder: Path) -> None:
    """Wait until the service answers that it is ready."""
    begin = time.monotonic()
    while not _ready(address):
        if process.poll() is not None or time.monotonic() - begin > PATIENCE_SECONDS:
            raise RuntimeError(f"the service did not become ready: {_log(folder)}")
        time.sleep(0.02)


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)  # noqa: PLR2004
    except urllib.error.URLError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _log(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8")[-500:]


def cpu_seconds(pid: int, *, ended_children: bool = False) -> float:
    """Read the CPU seconds of a process; ``ended_children`` adds those that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ticks = sum(map(int, fields[11 : 15 if ended_children else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Read the megabytes of memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status has no VmRSS")
    return int(found[1]) * 1024 / 1e6


def _import(statement: str) -> Cost:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{_SELF}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )
    cpu, kilobytes = done.stdout.split()[-2:]
    return Cost(wall=float(cpu), cpu=float(cpu), megabytes=int(kilobytes) * 1024 / 1e6)


def _megabytes(what: str, value: float) -> Figure:
    return Figure(what=what, value=value, unit="MB")


def _seconds(what: str, value: float, kind: str) -> Figure:
    return Figure(what=what, value=value, unit=f"s {kind}")
