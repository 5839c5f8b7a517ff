"""Time one look at one version by others' tools.

A look of ours reads a window's records, scores eight detectors, judges and stores. The peers are
only given eight columns of numbers, in memory.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats

from benchmarks.evidently_preset import drift_report
from benchmarks.live.fleet import BASELINE
from benchmarks.live.looks_page import FILE, SIGNALS, WINDOW
from benchmarks.statistics.environments import python
from benchmarks.timing import interleaved

SEED: Final = 23
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
            named: dict[str, Any] = {"reference look": reference.T, "live look": live}
            np.savez(streams.with_stem(str(number)), per_check=WINDOW, **named)
        few, many = (_nannyml_cpu(streams.with_stem(str(number))) for number in (1, looks + 1))
    return (many - few) / looks


def _nannyml_cpu(streams: Path) -> float:
    child = ["-m", "benchmarks.statistics.peers.child", "nannyml", str(streams)]
    ran = subprocess.run(
        [str(python("nannyml")), *child], cwd=ROOT, check=True, capture_output=True, text=True
    )
    [detector] = json.loads(ran.stdout)["found"].values()
    return float(detector["look"]["cpu_s"])
