"""One exact KS distance with its p-value, against scipy's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.row import Figure, Goal, Row, at_least, at_most
from benchmarks.timing import interleaved
from detectors.ranks import ks_distance, ks_p_value

SEED = 2
REFERENCE = 10_000
REPEATS = 20
PAIRS = 40
"""Pairs that agreement is checked on, shifts 0 to .05 sd: p from 0 to 1."""
Floats = npt.NDArray[np.float64]


def run() -> Sequence[Row]:
    """Race windows of 1,000 and 10,000 records; check distance and p-value against scipy."""
    return [_row(1_000, wanted=4.0), _row(10_000, wanted=2.5)]


def _row(n: int, *, wanted: float) -> Row:
    rng = np.random.default_rng(SEED)
    ordered, window = np.sort(rng.normal(size=REFERENCE)), rng.normal(size=n)
    spent = interleaved(
        {
            "ours": _repeated(lambda: ks_p_value(ks_distance(ordered, window), m=REFERENCE, n=n)),
            "scipy": _repeated(lambda: stats.ks_2samp(ordered, window, method="asymp")),
            "sort": _repeated(lambda: np.sort(window)),
        },
        rounds=9,
    )
    return Row(
        number=2,
        metric=f"one exact KS, {n:,} against 10,000",
        ours=_figure("ks_distance and ks_p_value", spent["ours"]),
        goals=(
            at_least(
                f"{wanted} × ks_2samp asymptotic",
                value=spent["scipy"] / spent["ours"],
                floor=wanted,
                unit="×",
            ),
            *_agreement(n, rng),
        ),
        peers=(_figure("scipy ks_2samp asymptotic", spent["scipy"]),),
        limit=_figure("np.sort of the window", spent["sort"]),
        note=f"agreement: the largest difference over {PAIRS} pairs, against scipy's exact method.",
    )


def _repeated(case: Callable[[], object]) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(REPEATS):
            case()

    return repeat


def _figure(what: str, seconds: float) -> Figure:
    return Figure(what=what, value=1e3 * seconds / REPEATS, unit="ms CPU")


def _agreement(n: int, rng: np.random.Generator) -> tuple[Goal, Goal]:
    distances, p_values = [], []
    for shift in np.linspace(0.0, 0.05, PAIRS):
        ordered, window = np.sort(rng.normal(size=REFERENCE)), rng.normal(shift, size=n)
        found = ks_distance(ordered, window)
        with warnings.catch_warnings(action="error"):  # scipy warns where it gives up exactness
            exact = stats.ks_2samp(ordered, window, method="exact")
        distances.append(abs(found - exact.statistic))
        p_values.append(abs(ks_p_value(found, m=REFERENCE, n=n) - exact.pvalue))
    return (
        at_most("1e-12 from scipy's D", value=max(distances), ceiling=1e-12, unit=""),
        at_most(".003 from the exact p", value=max(p_values), ceiling=0.003, unit=""),
    )
