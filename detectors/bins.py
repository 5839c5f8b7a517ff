"""A reference's 256 bins, windows as bin counts, and a fleet scored in one pass.

A window of 24 hours is the sum of its buckets' counts: added and subtracted exactly, without
rereading raw records. A bin holds about 1/256 of the reference; a value that is frequent in the
reference has its own bin, so ties cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.types import Floats

BINS = 256
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Binned:
    """N windows against N references by bin counts.

    distance
        KS distance at the bin edges ``(N,)``: never above the exact one.
    bracket
        Upper bound of the exact distance ``(N,)``; it differs by the mass inside one bin, .004 or
        less for a continuous signal.
    delta
        Cliff's delta ``(N,)``, values within one bin counted as ties.
    n
        Values in each window ``(N,)``; 0 gives distance and delta 0.
    """

    distance: Floats
    bracket: Floats
    delta: Floats
    n: Counts


def cut_points(ordered: Floats) -> Floats:
    """255 ascending edges of a sorted reference ``(m,)``: bin i is ``[cut[i-1], cut[i])``.

    A value that two quantiles share gets ``[value, next float)``; edges not needed are
    ``inf``.
    """
    wanted = ordered[np.arange(1, BINS) * ordered.size // BINS]
    values, times = np.unique(wanted, return_counts=True)
    closing = np.nextafter(values[times > 1], np.inf)
    cuts = np.unique(np.concatenate([values, closing]))
    return np.concatenate([cuts, np.full(BINS - 1 - cuts.size, np.inf)])


def count(cuts: Floats, values: Floats) -> Counts:
    """Count measured values ``(n,)`` per bin ``(256,)``; NaN is not measured.

    >>> count(cut_points(np.arange(512.0)), np.array([0.0, 1.0, 600.0, np.nan])).sum()
    np.int64(3)
    """
    known = values[~np.isnan(values)]
    return np.bincount(np.searchsorted(cuts, known, side="right"), minlength=BINS)


def compare(reference: Counts, windows: Counts, *, points: npt.NDArray[np.bool_]) -> Binned:
    """Score N windows in one pass.

    Parameters
    ----------
    reference, windows
        Counts ``(N, 256)``, one row per (adapter, signal).
    points
        ``(N, 256)``: bins that hold a single value (:func:`single_values`), which cannot
        hide anything between their edges.
    """
    m, n = reference.sum(axis=1), windows.sum(axis=1)
    below_r, r = _cumulative(reference, m)
    below_w, w = _cumulative(windows, n)
    inside = np.where(points, 0.0, np.maximum(r - below_w, w - below_r))
    distance = np.abs(r - w).max(axis=1)
    wins = windows * (below_r + r) / 2.0
    delta = 2.0 * wins.sum(axis=1) / np.maximum(n, 1) - 1.0
    seen = n > 0
    return Binned(
        distance=np.where(seen, distance, 0.0),
        bracket=np.where(seen, np.maximum(distance, inside.max(axis=1)), 0.0),
        delta=np.where(seen, delta, 0.0),
        n=n,
    )


def single_values(cuts: Floats) -> npt.NDArray[np.bool_]:
    """Return which of the 256 bins of ``cuts (255,)`` hold at most one value."""
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    alone: npt.NDArray[np.bool_] = np.nextafter(edges[:-1], np.inf) >= edges[1:]
    return alone


def _cumulative(counts: Counts, total: Counts) -> tuple[Floats, Floats]:
    up_to = np.cumsum(counts, axis=1) / np.maximum(total, 1)[:, None]
    below = np.concatenate([np.zeros((len(up_to), 1)), up_to[:, :-1]], axis=1)
    return below, up_to
