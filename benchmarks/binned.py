"""How far a distance from 256 stored bin counts can be from the exact one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.row import Figure, Goal, Row, at_most
from detectors import bins
from detectors.ranks import ks_distance

SEED = 3
REFERENCE, WINDOW, WINDOWS = 10_000, 1_000, 200
KLL_ERROR = 0.011
"""Of a KLL sketch of size 200, as published; it is not run here."""


def run() -> Sequence[Row]:
    """Compare windows that are shifted by 0 to 1 sd, exactly and by their counts."""
    rng = np.random.default_rng(SEED)
    ordered = np.sort(rng.normal(size=REFERENCE))
    cuts = bins.cut_points(ordered)
    windows = [rng.normal(shift, size=WINDOW) for shift in np.linspace(0.0, 1.0, WINDOWS)]
    found = bins.compare(
        np.tile(bins.count(cuts, ordered), (WINDOWS, 1)),
        np.stack([bins.count(cuts, window) for window in windows]),
        points=np.tile(bins.single_values(cuts), (WINDOWS, 1)),
    )
    exact = np.array([ks_distance(ordered, window) for window in windows])
    outside = int(((exact < found.distance - 1e-12) | (exact > found.bracket + 1e-12)).sum())
    error = float(np.abs(exact - found.distance).max())
    return [
        Row(
            number=3,
            metric="binned D (256 reference-quantile bins)",
            ours=_error("largest error", error),
            goals=(
                at_most(".004", value=error, ceiling=0.004, unit=""),
                Goal(
                    text="exact D inside the bracket",
                    value=WINDOWS - outside,
                    unit=f"of {WINDOWS}",
                    met=outside == 0,
                ),
            ),
            peers=(_error("KLL(200), published", KLL_ERROR),),
            limit=_error("exact", 0.0),
            note="an error, not a time; the noise of D at these sizes is .029.",
        )
    ]


def _error(what: str, value: float) -> Figure:
    return Figure(what=what, value=value, unit="")
