"""The fleet's part of ``docs/benchmarks.md`` and its picture, from stored results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.live import looks_page, probes_page, soak_page
from benchmarks.live.fleet import A_DAY, BASELINE, BEFORE, TOKENS, Cost
from benchmarks.statistics import page as statistics
from benchmarks.statistics import svg

FILE = Path(__file__).parent / "results" / "fleet.json"
HEADING = "## Fleets at work\n"
_INTRODUCTION = f"""
Written by `python -m benchmarks fleet-live` (an hour for the four) from `benchmarks/live/results/`;
do not edit. One process with its embedded PostgreSQL serves N adapters. Each has a reference of
{BASELINE} records and {A_DAY:,} records a day with {TOKENS} tokens' log-probabilities, those of
{BEFORE.seconds // 60} minutes at once in the beginning. An engine's double answers its probes;
nothing is embedded. CPU is a share of one core. *Late*: the
95th percentile of how long after its time a look was done. *Setup*: CPU for one registration with
its reference. *Disk*: what a day adds to all tables, if it goes
on as in the measured minutes. The pages are asked for
one after the other beside the traffic; that is the 95th percentile.
"""


def known() -> dict[int, Cost]:
    """Return what was measured, by number of adapters."""
    if not FILE.exists():
        return {}
    return {one["adapters"]: Cost(**one) for one in json.loads(FILE.read_text(encoding="utf-8"))}


def write() -> None:
    """Put the part into the page, before the statistics, and draw the picture."""
    text = statistics.PAGE.read_text(encoding="utf-8")
    before, heading, after = text.partition(statistics.HEADING)
    before = before.partition(HEADING)[0].rstrip()
    statistics.PAGE.write_text(f"{before}\n\n{section()}{heading}{after}", encoding="utf-8")
    if len(known()) > 1:
        (statistics.PICTURES / "fleet-live.svg").write_text(picture(), encoding="utf-8")


def section() -> str:
    """Write the part, that of probes included; empty where no fleet was measured."""
    costs = [one for _, one in sorted(known().items())]
    if not costs:
        return ""
    drawn = "\n![CPU over adapters](pictures/fleet-live.svg)\n" if len(costs) > 1 else ""
    beside = looks_page.section(costs) + probes_page.section() + soak_page.section()
    return f"{HEADING}{_INTRODUCTION}\n{table(costs)}{drawn}{_growth(costs)}{beside}\n"


def table(costs: Sequence[Cost]) -> str:
    """Write the costs as a table of Markdown."""
    head = (
        "adapters | service | PostgreSQL | memory | late, hard | late, live | records | lost"
        " | probes | setup | disk a day | adapters, page, metrics"
    )
    lines = [f"| {head} |", "|" + " --- |" * (head.count("|") + 1)]
    lines += [f"| {' | '.join(_cells(one))} |" for one in costs]
    return "\n".join(lines) + "\n"


def _cells(one: Cost) -> list[str]:
    return [
        f"{one.adapters:,}",
        f"{one.service:.1f} %",
        f"{one.postgres:.1f} %",
        f"{one.memory_mb:.0f} MB",
        *(f"{one.lag[kind]:.1f} s" if kind in one.lag else "-" for kind in ("hard", "live")),
        f"{one.records:,}",
        f"{one.lost:,}",
        f"{one.probes:,}",
        f"{one.setup_cpu_s:.2f} s",
        f"{one.disk_gb_a_day:.2f} GB",
        ", ".join(f"{wait:.0f}" for wait in one.waits.values()) + " ms",
    ]


def _growth(costs: Sequence[Cost]) -> str:
    """Say how CPU grows with adapters: a line through what was measured."""
    if len(costs) < 2:  # noqa: PLR2004 (a line needs two points)
        return ""
    slope, least = _line(costs)
    return (
        f"\nA line through them: {least:.1f} % of a core, and {100 * slope:.1f} % more for every"
        f" 100 adapters.\n"
    )


def _line(costs: Sequence[Cost]) -> tuple[float, float]:
    sizes = np.array([one.adapters for one in costs], dtype=float)
    busy = np.array([one.service + one.postgres for one in costs])
    slope, least = np.polyfit(sizes, busy, 1)
    return float(slope), float(least)


def picture() -> str:
    """Draw CPU over adapters."""
    costs = [one for _, one in sorted(known().items())]
    curves = [
        svg.Line(
            name=name, points=[(float(one.adapters), float(getattr(one, of))) for one in costs]
        )
        for name, of in (("service", "service"), ("PostgreSQL", "postgres"))
    ]
    return svg.lines("CPU of a fleet", curves, x="adapters", y="% of a core")
