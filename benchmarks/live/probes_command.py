"""``python -m benchmarks probes``: what probes cost an engine, into ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.adapters.base import OFFLINE
from benchmarks.adapters.engine import NoEngineError
from benchmarks.live.page import write
from benchmarks.live.probes import measure
from benchmarks.live.probes_page import keep

CACHE: Final = Path(__file__).parents[2] / "build" / "adapters" / "cache"
NO_ENGINE: Final = 2


def main(arguments: Sequence[str]) -> int:
    """Measure, keep the figures and write their part of the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks probes", description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="FOLDER", help="of adapters")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    if not given.page:
        os.environ.update(OFFLINE)
        cache = given.cache.resolve()
        cache.mkdir(parents=True, exist_ok=True)
        try:
            keep(measure(cache, cache / "probes.log", say=console.print))
        except NoEngineError as error:
            console.print(str(error), style="red", markup=False)
            return NO_ENGINE
    write()
    return 0
