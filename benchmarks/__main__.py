"""Run every benchmark, each in a process of its own, and write ``docs/benchmarks.md``.

``python -m benchmarks adapters`` runs the benchmark of broken adapters, which needs a real
engine: see :mod:`benchmarks.adapters`. ``adapters-tools`` puts what it recorded through other
tools, and ``adapters-page`` writes its page. ``fleet-live`` measures whole fleets at work,
``probes`` what their probes cost an engine, and ``soak`` what a day does to a service.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import peers
from benchmarks.live import page as live
from benchmarks.row import Row, from_json
from benchmarks.statistics import page as statistics
from benchmarks.table import number, render

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
TIME_LIMIT = 300
"""Seconds for one benchmark."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""A waiting BLAS thread spins, and its spinning would count as CPU time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A module with ``run() -> Sequence[Row]``; ``peers`` if it needs packages of peers.txt."""

    module: str
    peers: bool = False


BENCHMARKS = (
    Benchmark(module="distance"),
    Benchmark(module="binned"),
    Benchmark(module="fleet"),
    Benchmark(module="embedding"),
    Benchmark(module="nearest", peers=True),
    Benchmark(module="perplexity"),
    Benchmark(module="ingest"),
    Benchmark(module="scores_latest"),
    Benchmark(module="workers"),
    Benchmark(module="startup"),
    Benchmark(module="idle"),
    Benchmark(module="gateway"),
    Benchmark(module="inspect"),
    Benchmark(module="deliveries"),
    Benchmark(module="pages"),
)
APART = {
    "adapters": "benchmarks.adapters.command",
    "adapters-tools": "benchmarks.adapters.contestants.command",
    "adapters-page": "benchmarks.adapters.page.command",
    "fleet-live": "benchmarks.live.command",
    "probes": "benchmarks.live.probes_command",
    "soak": "benchmarks.live.soak_command",
}
"""Commands with options of their own: they need an engine, what one left, or an hour."""
NAMES = tuple(one.module for one in BENCHMARKS)


class BenchmarkFailed(Exception):  # noqa: N818 - it says what happened
    """A benchmark ended badly; the message is the end of what it wrote."""


def main(wanted: Sequence[str]) -> int:
    """Run the benchmarks named, or all; only a run of all of them writes the page."""
    console = Console(stderr=True)
    chosen = [one for one in BENCHMARKS if not wanted or one.module in wanted]
    rows: list[Row] = []
    seeds: dict[str, int] = {}
    failures: dict[str, str] = {}
    with _progress(console) as progress:
        task = progress.add_task("benchmarks", total=len(chosen))
        for one in chosen:
            progress.update(task, description=one.module)
            begin = time.monotonic()
            try:
                ran = _run(one)
                rows += ran.rows
                seeds |= {one.module: ran.seed} if ran.seed is not None else {}
            except BenchmarkFailed as error:
                failures[one.module] = str(error)
            progress.console.print(f"{one.module}: {time.monotonic() - begin:.0f} s")
            progress.advance(task)
    console.print(_summary(rows))
    for name, why in failures.items():
        console.print(f"{name} did not run: {why}", style="red", markup=False)
    if not wanted:
        page = render(rows, seeds=seeds, failures=failures)
        PAGE.write_text(f"{page}\n{live.section()}{statistics.section()}", encoding="utf-8")
        console.print(f"written: {PAGE.relative_to(ROOT)}", markup=False)
    return 1 if failures else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one benchmark measured, on random data of which seed."""

    rows: list[Row]
    seed: int | None


def _run(one: Benchmark) -> Ran:
    try:
        interpreter = peers.python() if one.peers else Path(sys.executable)
        done = subprocess.run(
            [str(interpreter), "-m", "benchmarks.child", one.module],
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(ONE_THREAD, "1")},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise BenchmarkFailed(_last_line(error.stderr) or str(error)) from None
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"not done in {TIME_LIMIT} s") from None
    said = json.loads(done.stdout.splitlines()[-1])
    return Ran(rows=[from_json(body) for body in said["rows"]], seed=said["seed"])


def _last_line(text: str | None) -> str:
    return (text or "").strip().rpartition("\n")[2]


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
    )


def _summary(rows: Sequence[Row]) -> Table:
    table = Table("#", "metric", "goal", "seen", "met")
    for row in sorted(rows, key=lambda row: row.number):
        for goal in row.goals:
            seen = f"{number(goal.value)} {goal.unit}".rstrip()
            style = "green" if goal.met else "yellow"
            met = "yes" if goal.met else "no"
            table.add_row(str(row.number), row.metric, goal.text, seen, met, style=style)
    return table


if __name__ == "__main__":
    if sys.argv[1:2] and (apart := APART.get(sys.argv[1])):
        sys.exit(importlib.import_module(apart).main(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks")
    parser.add_argument(
        "name",
        nargs="*",
        metavar="NAME",
        help=f"run only these of {', '.join(NAMES)}; the page is not written",
    )
    wanted = parser.parse_args().name
    if unknown := sorted(set(wanted) - set(NAMES)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    sys.exit(main(wanted))
