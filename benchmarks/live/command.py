"""``python -m benchmarks fleet-live N…``: what fleets cost, into ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from benchmarks.live import looks
from benchmarks.live.fleet import measure
from benchmarks.live.page import FILE, known, table, write

SIZES = (10, 100, 500, 1_000)


def main(arguments: Sequence[str]) -> int:
    """Measure each size, and keep it beside those measured before."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fleet-live", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, metavar="N", help=f"adapters: {SIZES}")
    parser.add_argument("--minutes", type=float, default=5.0, help="that are measured")
    parser.add_argument(
        "--settle", type=float, default=3.0, help="minutes before, until earlier records are read"
    )
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    found = known()
    for size in () if given.page else given.sizes or SIZES:
        cost = measure(size, minutes=given.minutes, settle=given.settle, say=console.print)
        found[size] = cost
        body = [asdict(one) for _, one in sorted(found.items())]
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        console.print(table([cost]), markup=False)
    if not given.page:
        looks.measure()
    write()
    return 0
