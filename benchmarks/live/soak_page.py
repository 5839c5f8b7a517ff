"""A day of a fleet: a part of ``docs/benchmarks.md``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.live.soak import CONFIDENCE, SPEED, Soaked, Trend

FILE: Final = Path(__file__).parent / "results" / "soak.json"


def keep(found: Soaked) -> None:
    """Store what a day did, for the page."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")


def section() -> str:
    """Write the part; empty if no day was measured."""
    if not FILE.exists():
        return ""
    body = json.loads(FILE.read_text(encoding="utf-8"))
    found = Soaked(**{**body, "trends": [Trend(**one) for one in body["trends"]]})
    said = (
        "Written by `python -m benchmarks soak` (an hour) from `benchmarks/live/results/`; do not"
        f" edit. A day of {found.adapters:,} adapters passes in {found.minutes:.0f} minutes:"
        f" records come, and looks are due, {SPEED:g} times as often. In it {found.records:,} came,"
        f" of which {found.lost:,} were lost, and {found.looks:,} looks were done, hard ones"
        f" {found.late_s:.1f} s late (p95). Autovacuum ran {found.vacuums:,} times; at the end no"
        f" table of a thousand rows had more than {100 * found.dead_share:.0f} % dead ones. A slope"
        f" is that of a day, with its {100 * CONFIDENCE:.0f} % interval."
    )
    lines = [
        "\n### A day of theirs\n",
        f"{said}\n",
        "| | first | last | slope a day |",
        "| --- | --- | --- | --- |",
        *(_line(one) for one in found.trends),
    ]
    return "\n".join(lines) + "\n"


def _line(one: Trend) -> str:
    def written(value: float, *, sign: str = "") -> str:
        return f"{value:{sign}.4g} {one.unit}".rstrip()

    slope = f"{written(one.slope, sign='+')} ({one.low:+.3g} to {one.high:+.3g})"
    return f"| {one.name} | {written(one.first)} | {written(one.last)} | {slope} |"
