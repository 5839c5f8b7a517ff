"""A fleet scored in one pass: 500 adapters with 8 signals, 1,000 records against 10,000."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.evidently_preset import drift_report
from benchmarks.row import Figure, Row, at_most
from benchmarks.timing import interleaved
from detectors import bins
from detectors.ranks import ks_distance, ks_p_value

SEED = 1
ADAPTERS, SIGNALS, WINDOW, REFERENCE = 500, 8, 1_000, 10_000
SCALED = 10
"""Adapters that scipy is timed on; its time is multiplied up."""
EVIDENTLY_ADAPTERS = 3
"""The same for Evidently, which takes half a second for each."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fleet:
    """Sorted references ``(N, 10000)``, windows ``(N, 1000)``, and both as bin counts."""

    ordered: Floats
    windows: Floats
    reference_counts: bins.Counts
    window_counts: bins.Counts
    points: npt.NDArray[np.bool_]


def run() -> Sequence[Row]:
    """Race stored bin counts and the exact loop with scipy and Evidently."""
    fleet = _fleet()
    spent = interleaved(
        {
            "binned": lambda: bins.compare(
                fleet.reference_counts, fleet.window_counts, points=fleet.points
            ),
            "exact": lambda: _exact(fleet),
            "sort": lambda: np.sort(fleet.windows, axis=1),
            "scipy auto": _scipy(fleet, "auto"),
            "scipy asymptotic": _scipy(fleet, "asymp"),
        },
        rounds=3,
    )
    evidently = interleaved({"preset": lambda: _evidently(fleet)}, rounds=3)["preset"]
    scale = ADAPTERS / SCALED
    return [
        Row(
            number=1,
            metric="fleet pass: 500 adapters × 8 signals, window 1k, reference 10k",
            ours=_s("from stored bin counts", spent["binned"]),
            goals=(
                at_most(
                    "100 ms from bin counts", value=1e3 * spent["binned"], ceiling=100, unit="ms"
                ),
                at_most("0.5 s exact, presorted", value=spent["exact"], ceiling=0.5, unit="s"),
            ),
            peers=(
                _s("Evidently preset", evidently * ADAPTERS / EVIDENTLY_ADAPTERS),
                _s("scipy ks_2samp auto", spent["scipy auto"] * scale),
                _s("scipy ks_2samp asymptotic", spent["scipy asymptotic"] * scale),
            ),
            limit=_s("sorting the windows", spent["sort"]),
            note=f"scipy timed on {SCALED} adapters and Evidently on {EVIDENTLY_ADAPTERS}, scaled"
            " to 500. Both of ours were timed on the whole fleet.",
        )
    ]


def _s(what: str, seconds: float) -> Figure:
    return Figure(what=what, value=seconds, unit="s CPU")


def _fleet() -> Fleet:
    rng = np.random.default_rng(SEED)
    rows = ADAPTERS * SIGNALS
    ordered = np.sort(rng.normal(size=(rows, REFERENCE)), axis=1)
    windows = rng.normal(size=(rows, WINDOW))
    cuts = [bins.cut_points(each) for each in ordered]
    return Fleet(
        ordered=ordered,
        windows=windows,
        reference_counts=np.stack([bins.count(c, v) for c, v in zip(cuts, ordered, strict=True)]),
        window_counts=np.stack([bins.count(c, v) for c, v in zip(cuts, windows, strict=True)]),
        points=np.stack([bins.single_values(each) for each in cuts]),
    )


def _exact(fleet: Fleet) -> None:
    for ordered, window in zip(fleet.ordered, fleet.windows, strict=True):
        ks_p_value(ks_distance(ordered, window), m=REFERENCE, n=WINDOW)


def _scipy(fleet: Fleet, method: Literal["auto", "asymp"]) -> Callable[[], None]:
    rows = SCALED * SIGNALS

    def race() -> None:
        for ordered, window in zip(fleet.ordered[:rows], fleet.windows[:rows], strict=True):
            stats.ks_2samp(ordered, window, method=method)

    return race


def _evidently(fleet: Fleet) -> None:
    for adapter in range(EVIDENTLY_ADAPTERS):
        part = slice(adapter * SIGNALS, (adapter + 1) * SIGNALS)
        drift_report(fleet.ordered[part], fleet.windows[part])
