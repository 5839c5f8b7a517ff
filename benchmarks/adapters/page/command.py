"""``python -m benchmarks adapters-page``: write the page and its pictures from a run.

Its results are stored beside the code; ``--stored`` draws the page anew from them, ``--add`` keeps
those of ways that this run did not play. A run of several sittings is gathered in another file
(``--results``) until it is complete; no page is drawn of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.adapters.contestants.command import USUAL
from benchmarks.adapters.page import pictures
from benchmarks.adapters.page.goals import goals
from benchmarks.adapters.page.results import FILE, Results, collect, joined, load, store
from benchmarks.adapters.page.writing import page

DOCS = Path(__file__).parents[3] / "docs"


def main(arguments: Sequence[str]) -> int:
    """Draw a run, or what is stored of one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks adapters-page")
    parser.add_argument("--into", type=Path, default=USUAL, metavar="FOLDER")
    parser.add_argument("--stored", action="store_true", help="draw from the stored results")
    parser.add_argument("--add", action="store_true", help="keep stored ways not played anew")
    parser.add_argument(
        "--results",
        type=Path,
        default=FILE,
        metavar="FILE",
        help="where results are stored; of another file than the usual no page is drawn",
    )
    given = parser.parse_args(arguments)
    kept: Path = given.results
    if not given.stored:
        found = collect(given.into)
        store(joined(load(kept), found) if given.add and kept.exists() else found, kept)
    results = load(kept)
    if kept.resolve() == FILE:
        write(results)
    for goal in goals(results):
        print(f"{goal.held} of {goal.of}: {goal.text}")
    return 0


def write(results: Results, docs: Path = DOCS) -> None:
    """Write the page and draw its pictures."""
    (docs / "pictures").mkdir(exist_ok=True)
    (docs / "adapters-benchmark.md").write_text(page(results), encoding="utf-8")
    for name, draw in (("adapters", pictures.heat_map), ("adapters-kl", pictures.page_over_kl)):
        (docs / "pictures" / f"{name}.svg").write_text(draw(results), encoding="utf-8")
