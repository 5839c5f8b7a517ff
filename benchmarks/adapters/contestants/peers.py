"""Evidently, NannyML and River with their own defaults, each in an environment of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.adapters.contestants.entry import Entry, entry_of
from benchmarks.adapters.contestants.experiment import WINDOW, Experiment, Floats
from benchmarks.statistics.race import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One detector of a package: its name in the answers of ``benchmarks.statistics.peers``."""

    slug: str
    package: str
    detector: str
    tool: str
    settings: str


PEERS = (
    Peer(
        slug="evidently",
        package="evidently",
        detector="DataDriftPreset, half the summaries",
        tool="Evidently preset",
        settings=f"DataDriftPreset, its defaults: half of the columns, every {WINDOW} requests",
    ),
    Peer(
        slug="evidently_any",
        package="evidently",
        detector="DataDriftPreset, any summary",
        tool="Evidently, any column",
        settings=f"DataDriftPreset, any column, every {WINDOW} requests",
    ),
    Peer(
        slug="nannyml",
        package="nannyml",
        detector="UnivariateDriftCalculator, any summary",
        tool="NannyML",
        settings=f"UnivariateDriftCalculator, its defaults, any column, chunks of {WINDOW}",
    ),
    Peer(
        slug="river_adwin",
        package="river",
        detector="ADWIN, any summary",
        tool="River ADWIN",
        settings=f"ADWIN, its defaults, one on each column, told every {WINDOW} requests",
    ),
)
PACKAGES = tuple(dict.fromkeys(peer.package for peer in PEERS))


def run(
    package: str, experiments: Sequence[Experiment]
) -> Iterator[tuple[Experiment, Peer, Entry]]:
    """Put experiments through one package; raises ``race.PeerFailed``."""
    whole = {one.key: one for one in experiments if list(one.windows())}
    if not whole:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.npz"
        np.savez(path, allow_pickle=False, per_check=np.array(WINDOW), **_arrays(whole.values()))
        said = ask(package, path)
    for peer in PEERS:
        for key, seen in said["found"].get(peer.detector, {}).items():
            experiment = whole[key]
            ends = [end for _, end in experiment.windows()]
            yield (
                experiment,
                peer,
                entry_of(
                    [ends[check] for check in seen["alarms"]],
                    experiment,
                    tool=peer.tool,
                    version=said["version"],
                    settings=peer.settings,
                    cpu_s=seen["cpu_s"],
                ),
            )


def _arrays(experiments: Iterable[Experiment]) -> dict[str, Floats]:
    arrays: dict[str, Floats] = {}
    for one in experiments:
        usual = _usual(one.baseline.table)
        windows = [_filled(one.live.table[start:end], usual) for start, end in one.windows()]
        arrays[f"reference {one.key}"] = _filled(one.baseline.table, usual)
        arrays[f"live {one.key}"] = np.concatenate(windows)
    return arrays


def _usual(table: Floats) -> Floats:
    """Median of each column, 0 where the baseline never measured it."""
    return np.array(
        [np.median(known) if (known := one[~np.isnan(one)]).size else 0.0 for one in table.T]
    )


def _filled(table: Floats, usual: Floats) -> Floats:
    """Put the baseline's median where nothing was measured: half of the tools stop at a NaN."""
    return np.where(np.isnan(table), usual, table)
