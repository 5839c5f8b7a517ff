"""Put the records of a run through every other tool: ``python -m benchmarks.adapters.contestants``.

Entries that are there already stay; ``--again`` makes them anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.adapters.contestants import peers, plain
from benchmarks.adapters.contestants.entry import write
from benchmarks.adapters.contestants.experiment import Experiment, folders, load
from benchmarks.statistics.race import PeerFailed

DEFAULT = Path("build/adapters")


def main(run: Path, *, again: bool) -> int:
    """Write the entries that are missing; 1 where a tool did not run."""
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.adapters.contestants"
    )
    parser.add_argument("run", nargs="?", type=Path, default=DEFAULT, help="the run's folder")
    parser.add_argument("--again", action="store_true", help="also where an entry is there")
    wanted = parser.parse_args()
    sys.exit(main(wanted.run, again=wanted.again))
