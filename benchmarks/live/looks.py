"""One look at one version by others' tools, for the page of fleets at work.

A look of ours reads a window's records, scores eight detectors, judges and stores. The peers are
only given eight columns of numbers, in memory.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

from benchmarks.evidently_preset import drift_report
from benchmarks.live.fleet import A_DAY, BASELINE, Cost
from benchmarks.statistics.environments import python
from benchmarks.timing import interleaved

FILE: Final = Path(__file__).parent / "results" / "looks.json"
SEED: Final = 23
SIGNALS: Final = 8
WINDOW: Final = A_DAY * 15 // (24 * 60)
"""Records of a quarter of an hour."""
ROOT: Final = Path(__file__).parents[2]


def measure() -> None:
    """Time one look by each peer, in CPU seconds, and store it."""
    rng = np.random.default_rng(SEED)
    reference = np.sort(rng.normal(size=(SIGNALS, BASELINE)), axis=1)
    window = rng.normal(size=(SIGNALS, WINDOW))

    def scipy() -> None:
        for before, now in zip(reference, window, strict=True):
            stats.ks_2samp(before, now)

    spent = interleaved(
        {"scipy ks_2samp": scipy, "Evidently preset": lambda: drift_report(reference, window)}
    )
    spent["NannyML, univariate"] = _nannyml(reference, window)
    FILE.write_text(json.dumps(spent, indent=1) + "\n", encoding="utf-8")


def _nannyml(reference: np.ndarray, window: np.ndarray) -> float:
    """Return what each further look takes: its calculator is fitted once."""
    looks = 20
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder:
        streams = Path(folder) / "streams.npz"
        for number in (1, looks + 1):
            live = np.tile(window.T, (number, 1))
            np.savez(streams.with_stem(str(number)), per_check=WINDOW, **_named(reference.T, live))
        few, many = (_nannyml_cpu(streams.with_stem(str(number))) for number in (1, looks + 1))
    return (many - few) / looks


def _named(reference: np.ndarray, live: np.ndarray) -> dict[str, np.ndarray]:
    return {"reference look": reference, "live look": live}


def _nannyml_cpu(streams: Path) -> float:
    child = ["-m", "benchmarks.statistics.peers.child", "nannyml", str(streams)]
    ran = subprocess.run(
        [str(python("nannyml")), *child], cwd=ROOT, check=True, capture_output=True, text=True
    )
    [detector] = json.loads(ran.stdout)["found"].values()
    return float(detector["look"]["cpu_s"])


def section(costs: Sequence[Cost]) -> str:
    """Write what the peers would take for the looks of the largest fleet; empty if unmeasured."""
    if not FILE.exists():
        return ""
    largest = max(costs, key=lambda one: one.adapters)
    looks = sum(count for kind, count in largest.evaluations.items() if kind != "perplexity")
    rate = looks / largest.seconds
    ours = (largest.service + largest.postgres) / 100 / rate
    spent = {"Driftline, all of the above": ours, **json.loads(FILE.read_text(encoding="utf-8"))}
    lines = [
        (
            f"\nFor the same looks, {rate:.1f} a second at {largest.adapters:,} adapters, others would"
            f" take at least the following. They get {SIGNALS} columns of {WINDOW} numbers and their"
            f" {BASELINE} of reference in memory; records, storage, pages and messages are theirs to add.\n"
        ),
        "| | CPU a look | of a core |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {1e3 * cpu:.1f} ms | {100 * cpu * rate:.1f} % |"
            for name, cpu in spent.items()
        ),
    ]
    return "\n".join(lines) + "\n"
