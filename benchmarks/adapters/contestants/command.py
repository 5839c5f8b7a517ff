"""``python -m benchmarks adapters-tools``: put the records of a run through every other tool.

Entries that are there already stay; ``--again`` makes them anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.adapters.contestants import peers, plain
from benchmarks.adapters.contestants.entry import write
from benchmarks.adapters.contestants.experiment import Experiment, folders, load
from benchmarks.statistics.race import PeerFailed

USUAL = Path(__file__).parents[3] / "build" / "adapters"


def main(arguments: Sequence[str]) -> int:
    """Write the entries that are missing; 1 where a tool did not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks adapters-tools")
    parser.add_argument("--into", type=Path, default=USUAL, metavar="FOLDER")
    parser.add_argument("--again", action="store_true", help="also where an entry is there")
    given = parser.parse_args(arguments)
    return run_tools(given.into, again=given.again)


def run_tools(run: Path, *, again: bool = False) -> int:
    """Write the entries of a run's folder."""
    experiments = [load(run, folder) for folder in folders(run)]
    for name, rule in plain.PLAIN.items():
        for one in _open(experiments, name, again=again):
            write(plain.run(rule, one), one.folder / f"{name}.json")
    failed = False
    for package in peers.PACKAGES:
        try:
            _ask(package, experiments, again=again)
        except PeerFailed as error:
            failed = True
            print(f"{package} did not run: {error}", file=sys.stderr)
    print(f"{len(experiments)} experiments in {run}")
    return int(failed)


def _ask(package: str, experiments: list[Experiment], *, again: bool) -> None:
    slug = next(peer.slug for peer in peers.PEERS if peer.package == package)
    for one, peer, entry in peers.run(package, _open(experiments, slug, again=again)):
        write(entry, one.folder / f"{peer.slug}.json")


def _open(experiments: list[Experiment], name: str, *, again: bool) -> list[Experiment]:
    return [one for one in experiments if again or not (one.folder / f"{name}.json").exists()]
