"""Run the statistical proof: ``python -m benchmarks.statistics NAME [--quick]``.

Each name is one command with fixed seeds; results are JSON files in ``results/``, from which
the statistics part of ``docs/benchmarks.md`` and its pictures are drawn.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

from benchmarks.statistics.about import about, store
from benchmarks.statistics.report import Report

MODULES = {
    "false-alarms": "false_alarms",
    "other-detectors": "other_detectors",
    "delays": "delays",
    "ages": "ages",
    "input-drift": "input_drift",
    "live-input": "live_input",
    "learned-index": "learned_index",
    "peers": "race",
    "classic": "classic",
    "canaries": "canaries",
    "shadows": "shadows",
    "cost": "cost",
}


def main(name: str, *, quick: bool) -> None:
    """Run one benchmark and store what it found; a quick one stores nothing."""
    module = importlib.import_module(f"benchmarks.statistics.{MODULES[name]}")
    begin = time.monotonic()

    def keep(found: object) -> None:
        if not quick and isinstance(found, dict):
            seconds = time.monotonic() - begin
            store(MODULES[name], {"about": _about(module, seconds)} | found)

    found = module.run(quick=quick, report=Report(partial=keep))
    keep(found)
    print(module.summary(found))


def _about(module: object, seconds: float) -> dict[str, object]:
    seed = getattr(module, "SEED", 0)
    return about(seed=int(seed), seconds=seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.statistics")
    parser.add_argument("name", choices=(*MODULES, "page", "all"))
    parser.add_argument("--quick", action="store_true", help="minutes in place of hours; not kept")
    wanted = parser.parse_args()
    for each in MODULES if wanted.name == "all" else (wanted.name,):
        if each != "page":
            main(each, quick=wanted.quick)
    if not wanted.quick:
        from benchmarks.statistics.page import write

        write()
