"""Rows 1, 2, 3 and 5: what a comparison costs, beside the peer and the limit.

Every figure is CPU time of this process, the median of interleaved rounds, so a noisy
neighbour slows all contestants alike. Quote the ratios.

    python -m benchmarks.detectors
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from scipy import stats

from detectors import bins
from detectors.nearest import nearest
from detectors.ranks import ks_distance, ks_p_value

ADAPTERS, SIGNALS, WINDOW, REFERENCE = 500, 8, 1_000, 10_000
SEED = 5
BINS_GOAL, EXACT_GOAL, ERROR_GOAL = 0.1, 0.5, 0.004
_PEER_SERIES = 40
"""The peer scores so many of the 4,000 series; its time is scaled up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: seconds of CPU unless the metric says otherwise."""

    metric: str
    ours: float
    peer: float | None
    limit: float | None
    goal: str
    met: bool


def race(contestants: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median CPU seconds of each contestant, in turn, so that none has the quiet machine."""
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            begin = time.process_time()
            contestant()
            spent[name].append(time.process_time() - begin)
    return {name: median(each) for name, each in spent.items()}


def fleet_pass() -> Iterator[Row]:
    """Row 1: 500 adapters x 8 signals, windows of 1,000 against references of 10,000."""
    rng = np.random.default_rng(SEED)
    series = ADAPTERS * SIGNALS
    ordered = np.sort(rng.normal(size=(SIGNALS, REFERENCE)), axis=1)
    cuts = np.stack([bins.cut_points(each) for each in ordered])
    windows = rng.normal(size=(series, WINDOW))
    own = [bins.count(cuts[i], ordered[i]) for i in range(SIGNALS)]
    reference = np.tile(np.stack(own), (ADAPTERS, 1))
    counts = np.stack([bins.count(cuts[i % SIGNALS], w) for i, w in enumerate(windows)])
    points = np.tile(np.stack([bins.single_values(each) for each in cuts]), (ADAPTERS, 1))
    few = range(_PEER_SERIES)
    cpu = race(
        {
            "bins": lambda: bins.compare(reference, counts, points=points),
            "exact": lambda: [ks_distance(ordered[i % SIGNALS], w) for i, w in enumerate(windows)],
            "asymptotic": lambda: [
                stats.ks_2samp(ordered[i % SIGNALS], windows[i], method="asymp") for i in few
            ],
            "sort": lambda: np.sort(windows, axis=1),
        },
        rounds=5,
    )
    peer = cpu["asymptotic"] * series / _PEER_SERIES
    yield Row(
        metric="1 fleet pass from stored bin counts",
        ours=cpu["bins"],
        peer=peer,
        limit=cpu["sort"],
        goal="<= .1 s",
        met=cpu["bins"] <= BINS_GOAL,
    )
    yield Row(
        metric="1 fleet pass, exact presorted loop",
        ours=cpu["exact"],
        peer=peer,
        limit=cpu["sort"],
        goal="<= .5 s",
        met=cpu["exact"] <= EXACT_GOAL,
    )


def single_ks() -> Iterator[Row]:
    """Row 2: one exact KS of 1k and 10k values against 10k, p-value included."""
    rng = np.random.default_rng(SEED)
    ordered = np.sort(rng.normal(size=REFERENCE))
    for size, ratio in ((1_000, 4.0), (10_000, 2.5)):
        window = rng.normal(size=size)

        def ours(window: np.ndarray = window, size: int = size) -> None:
            for _ in range(50):
                ks_p_value(ks_distance(ordered, window), m=REFERENCE, n=size)

        def peer(window: np.ndarray = window) -> None:
            for _ in range(50):
                stats.ks_2samp(ordered, window, method="asymp")

        def limit(window: np.ndarray = window) -> None:
            for _ in range(50):
                np.sort(window)

        cpu = race({"ours": ours, "peer": peer, "limit": limit}, rounds=7)
        yield Row(
            metric=f"2 one KS, {size:,} against 10,000",
            ours=cpu["ours"] / 50,
            peer=cpu["peer"] / 50,
            limit=cpu["limit"] / 50,
            goal=f">= {ratio:g} x the peer",
            met=cpu["peer"] >= ratio * cpu["ours"],
        )


def binned_error() -> Iterator[Row]:
    """Row 3: largest error of the binned distance over shifts and ties, not a time."""
    rng = np.random.default_rng(SEED)
    ordered = np.sort(rng.normal(size=REFERENCE))
    cuts = bins.cut_points(ordered)
    windows = [rng.normal(shift, 1.0, size=WINDOW) for shift in np.linspace(0.0, 1.0, 200)]
    found = bins.compare(
        np.tile(bins.count(cuts, ordered), (200, 1)),
        np.stack([bins.count(cuts, window) for window in windows]),
        points=np.tile(bins.single_values(cuts), (200, 1)),
    )
    exact = np.array([ks_distance(ordered, window) for window in windows])
    error = float(np.abs(exact - found.distance).max())
    yield Row(
        metric="3 error of the binned distance (no unit)",
        ours=error,
        peer=0.011,
        limit=0.0,
        goal="<= .004, exact within the bracket",
        met=error <= ERROR_GOAL and bool((exact <= found.bracket + 1e-12).all()),
    )


def nearest_example() -> Iterator[Row]:
    """Row 5: 1,000 queries over 100,000 examples of 384 numbers."""
    rng = np.random.default_rng(SEED)
    index = rng.normal(size=(100_000, 384)).astype(np.float32)
    index /= np.linalg.norm(index, axis=1, keepdims=True)
    queries = index[rng.choice(len(index), 1_000)] + rng.normal(0, 0.02, size=(1_000, 384)).astype(
        np.float32
    )
    stored, half = index.astype(np.float16), torch.from_numpy(index).bfloat16()
    asked = torch.from_numpy(queries).bfloat16()
    cpu = race(
        {
            "ours": lambda: nearest(stored, queries),
            "whole": lambda: (queries @ index.T).max(axis=1),
            "bf16": lambda: [(asked @ block.T).max(dim=1) for block in half.split(4096)],
        },
        rounds=3,
    )
    yield Row(
        metric="5 nearest example, float32 blocks from a float16 index",
        ours=cpu["ours"],
        peer=cpu["whole"],
        limit=cpu["bf16"],
        goal=">= 3 x the whole product",
        met=cpu["whole"] >= 3.0 * cpu["ours"],
    )


def rows() -> Iterator[Row]:
    """Every row of this module, in the table's order."""
    for part in (fleet_pass, single_ks, binned_error, nearest_example):
        yield from part()


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    for row in rows():
        print(row)


if __name__ == "__main__":
    main()
