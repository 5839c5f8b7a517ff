"""``python -m benchmarks soak``: what a day does to a service, into ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from rich.console import Console

from benchmarks.live import soak
from benchmarks.live.page import write
from benchmarks.live.soak_page import keep

ADAPTERS: Final = 200


def main(arguments: Sequence[str]) -> int:
    """Let the day pass, keep its figures and write their part of the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--adapters", type=int, default=ADAPTERS)
    parser.add_argument("--minutes", type=float, default=soak.DAY.total_seconds() / 60)
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    if not given.page:
        day = timedelta(minutes=given.minutes)
        keep(soak.measure(given.adapters, day=day, say=console.print))
    write()
    return 0
