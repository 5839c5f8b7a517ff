"""The idle service: what it and its PostgreSQL cost while there is nothing to do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.row import Figure, Row, at_most
from benchmarks.startup import cpu_seconds, running, wait_ready

SETTLING_SECONDS = 20.0
"""First looks, and connections that are made once."""
IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Burnt:
    """CPU seconds since their start, of the service's processes and of PostgreSQL's."""

    service: float
    postgres: float


def run() -> Sequence[Row]:
    """Start the service with its embedded PostgreSQL and no adapter, and let it be."""
    with (
        tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder,
        running(Path(folder) / "service") as (process, address),
    ):
        wait_ready(process, address, Path(folder) / "service")
        time.sleep(SETTLING_SECONDS)
        before, begin = burnt(process.pid), time.monotonic()
        time.sleep(IDLE_SECONDS)
        after, took = burnt(process.pid), time.monotonic() - begin
    service = 100 * (after.service - before.service) / took
    postgres = 100 * (after.postgres - before.postgres) / took
    return [
        Row(
            number=19,
            metric="idle service, no adapter: CPU",
            ours=Figure(what="driftline serve", value=service, unit="% of a core"),
            goals=(at_most("0.3 % of a core", value=service, ceiling=0.3, unit="%"),),
            limit=Figure(what="nothing", value=0.0, unit="% of a core"),
            note=f"CPU seconds of its processes over {took:.0f} s, the guardian of the embedded"
            f" PostgreSQL included; PostgreSQL itself: {postgres:.2g} %.",
        )
    ]


def burnt(service: int) -> Burnt:
    """Read the CPU seconds of a service and of all that it started, now and before."""
    own, postgres = cpu_seconds(service), 0.0
    for pid in _descendants(service):
        program = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        if program == "postgres":
            postgres += cpu_seconds(pid, ended_children=True)
        else:
            own += cpu_seconds(pid)
    return Burnt(service=own, postgres=postgres)


def _descendants(root: int) -> set[int]:
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").glob("[0-9]*")}
    found: set[int] = set()
    while new := {pid for pid, of in parents.items() if of in found | {root}} - found:
        found |= new
    return found


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0
