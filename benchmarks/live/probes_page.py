"""The probes' part of ``docs/benchmarks.md``, from stored results."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks.live.probes import AT_ONCE, CLIENTS, MAX_TOKENS, PHASE_S, ProbeCosts
from monitor.domain import VersionId
from monitor.policy.rounds import PLANNED, ProbeCost, plan_rounds, span
from monitor.probes.share import SHARE

FILE: Final = Path(__file__).parent / "results" / "probes.json"
HEADING: Final = "### Their probes\n"
FLEETS: Final = (200, 500, 1_000)
WANTED: Final = timedelta(hours=6)
DAY_S: Final = 86_400.0


def known() -> ProbeCosts | None:
    """Return what was measured; None: nothing yet."""
    return ProbeCosts(**json.loads(FILE.read_text(encoding="utf-8"))) if FILE.exists() else None


def keep(costs: ProbeCosts) -> None:
    """Store what was measured."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(asdict(costs), indent=1) + "\n", encoding="utf-8")


def section() -> str:
    """Write the part; empty where nothing was measured."""
    costs = known()
    return "" if costs is None else f"\n{HEADING}{_measured(costs)}\n{_plan(costs)}"


def _measured(costs: ProbeCosts) -> str:
    without = statistics.median(costs.throughput["0"])
    beside = "\n".join(
        f"| beside {CLIENTS} clients, probes take {float(share):.0%} of the time |"
        f" {statistics.median(rates):.1f} tokens/s, {statistics.median(rates) / without:.0%}"
        f" ({min(rates):.1f} to {max(rates):.1f}) |"
        for share, rates in costs.throughput.items()
    )
    return f"""
Written by `python -m benchmarks probes` (ten minutes) from `benchmarks/live/results/`; do not
edit. A real {costs.engine} on two CPU cores serves SmolLM2-135M with six adapters of rank 8, those
of the [benchmark of broken adapters](adapters-benchmark.md). A probe reads the {costs.documents}
documents of the built-in corpus. Clients ask for {MAX_TOKENS} tokens, each again as soon as it was
answered; medians of rounds of {PHASE_S:g} s, with the least and the most.

| | |
| --- | --- |
| one probe, a document at a time, as the service does | {costs.alone:.1f} s of the engine's time |
| {AT_ONCE} documents of an adapter at a time | {costs.documents_at_once:.1f} s |
| a document of {AT_ONCE} adapters at a time | {costs.adapters_at_once:.1f} s |
| tokens from the prefix cache when the corpus is read again | {costs.cached:,} |
{beside}
"""


def _plan(costs: ProbeCosts) -> str:
    said = (
        "With probes of that length, `probes.perplexity.budget` at its default of"
        f" {SHARE:.0%} (of which {PLANNED:.0%} are planned) and one engine for all, `driftline"
        " budget` plans:"
    )
    lines = [
        said,
        "",
        "| adapters | each is probed every | engine-seconds a day | of the engine's time |",
        "| --- | --- | --- | --- |",
    ]
    for count in FLEETS:
        measured = [
            ProbeCost(version_id=VersionId(number), engine="engine", seconds=costs.alone)
            for number in range(count)
        ]
        [plan] = plan_rounds(measured, share=SHARE, wanted=WANTED)
        busy = plan.seconds * DAY_S / plan.period.total_seconds()
        lines.append(f"| {count:,} | {span(plan.period)} | {busy:,.0f} | {busy / DAY_S:.1%} |")
    return "\n".join(lines) + "\n"
