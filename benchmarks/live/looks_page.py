"""What others' tools would take for a fleet's looks: a part of ``docs/benchmarks.md``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.live.fleet import A_DAY, BASELINE, Cost

FILE: Final = Path(__file__).parent / "results" / "looks.json"
SIGNALS: Final = 8
WINDOW: Final = A_DAY * 15 // (24 * 60)
"""Records of a quarter of an hour."""


def section(costs: Sequence[Cost]) -> str:
    """Write what the peers would take for the looks of the largest fleet; empty if unmeasured."""
    if not FILE.exists():
        return ""
    largest = max(costs, key=lambda one: one.adapters)
    looks = sum(count for kind, count in largest.evaluations.items() if kind != "perplexity")
    rate = looks / largest.seconds
    ours = (largest.service + largest.postgres) / 100 / rate
    spent = {"Driftline, all of the above": ours, **json.loads(FILE.read_text(encoding="utf-8"))}
    said = (
        f"For the same looks, {rate:.1f} a second at {largest.adapters:,} adapters, others would"
        f" take at least the following. They are given {SIGNALS} columns of {WINDOW} numbers, and"
        f" {BASELINE} of reference, in memory; they store nothing, serve no page and send nothing."
    )
    lines = [
        f"\n{said}\n",
        "| | CPU a look | of a core |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {1e3 * cpu:.1f} ms | {100 * cpu * rate:.1f} % |"
            for name, cpu in spent.items()
        ),
    ]
    return "\n".join(lines) + "\n"
