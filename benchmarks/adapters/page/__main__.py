"""Write the page and its pictures from a run: ``python -m benchmarks.adapters.page RUN``.

Its results are stored beside the code; ``--stored`` draws the page anew from them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.adapters.contestants.__main__ import DEFAULT
from benchmarks.adapters.page import pictures
from benchmarks.adapters.page.goals import goals
from benchmarks.adapters.page.results import Results, collect, load, store
from benchmarks.adapters.page.writing import page

DOCS = Path(__file__).parents[3] / "docs"


def write(results: Results, docs: Path = DOCS) -> None:
    """Write the page and draw its pictures."""
    (docs / "pictures").mkdir(exist_ok=True)
    (docs / "adapters-benchmark.md").write_text(page(results), encoding="utf-8")
    for name, draw in (("adapters", pictures.heat_map), ("adapters-kl", pictures.page_over_kl)):
        (docs / "pictures" / f"{name}.svg").write_text(draw(results), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.adapters.page")
    parser.add_argument("run", nargs="?", type=Path, default=DEFAULT, help="the run's folder")
    parser.add_argument("--stored", action="store_true", help="draw from the stored results")
    wanted = parser.parse_args()
    if not wanted.stored:
        store(collect(wanted.run))
    results = load()
    write(results)
    for goal in goals(results):
        print(f"{goal.held} of {goal.of}: {goal.text}")
