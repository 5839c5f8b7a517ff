"""Principal axes of an index of embeddings, and where a text lies along them.

The nearest example says whether a text is new; coordinates say *which* of the known topics
it is of, so that a shift of the mix among known topics, or of style, shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.types import Floats

COUNT: Final = 8
"""Coordinates a text has; those that an index has no axis for are NaN."""
BLOCK_ROWS: Final = 4096
FITTED_ROWS: Final = 65_536
"""Rows of a larger index that are fitted on, evenly spread: directions need no more."""
_LEAST_SHARE: Final = 1e-6
"""Of the whole variance; an axis below it is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axes:
    """Directions ``(k, d)`` of unit length, k <= 8, and the centre ``(d,)`` they start from.

    In order of falling variance; float32. The largest component of each is positive, so
    that the same index always gives the same signs.
    """

    centre: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]

    @property
    def dimension(self) -> int:
        return int(self.centre.size)


def fit_axes(index: npt.NDArray[np.floating], *, count: int = COUNT) -> Axes:
    """Find the directions in which an index spreads most.

    Parameters
    ----------
    index
        Vectors ``(m, d)``, ``m >= 1``, float16 or float32; a memory map is read block by
        block.
    count
        Most directions; fewer where the index has fewer (m - 1, d, or its rank).

    Notes
    -----
    Eigenvectors of the covariance ``(d, d)`` in float64, which are the right singular
    vectors of the centred index. Cost for d = 384: .15 s for 10,000 rows, 1 s at most.
    """
    rows = index if len(index) <= FITTED_ROWS else index[:: -(-len(index) // FITTED_ROWS)]
    dimension = rows.shape[1]
    total, products = np.zeros(dimension), np.zeros((dimension, dimension))
    for begin in range(0, len(rows), BLOCK_ROWS):
        block = np.asarray(rows[begin : begin + BLOCK_ROWS], dtype=np.float64)
        total += block.sum(axis=0)
        products += block.T @ block
    centre = total / len(rows)
    variances, vectors = np.linalg.eigh(products / len(rows) - np.outer(centre, centre))
    largest = np.argsort(variances)[::-1][:count]
    real = largest[variances[largest] > _LEAST_SHARE * max(float(variances.sum()), _LEAST_SHARE)]
    directions = vectors[:, real].T
    heaviest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(real.size), heaviest])
    return Axes(
        centre=centre.astype(np.float32),
        directions=(directions * signs[:, None]).astype(np.float32),
    )


def coordinates(axes: Axes, vectors: npt.NDArray[np.floating]) -> Floats:
    """Place vectors ``(n, d)`` along the axes: ``(n, 8)``, float32 precision.

    Columns without an axis are NaN. The product is taken in float64 and rounded: the same
    text has the same coordinates in any batch, so that ties with the reference stay ties.
    """
    placed = np.full((len(vectors), COUNT), np.nan)
    away = np.asarray(vectors, dtype=np.float64) - axes.centre.astype(np.float64)
    found = away @ axes.directions.astype(np.float64).T
    placed[:, : len(axes.directions)] = found.astype(np.float32)
    return placed


def dump_axes(axes: Axes) -> bytes:
    """Write the centre and then each direction, float32, row-major."""
    return np.vstack([axes.centre, axes.directions]).astype("<f4").tobytes()


def load_axes(body: bytes, *, dimension: int) -> Axes:
    """Read what :func:`dump_axes` wrote for vectors of this length."""
    rows = np.frombuffer(body, dtype="<f4").reshape(-1, dimension)
    return Axes(centre=rows[0], directions=rows[1:])
