"""Principal axes of an index of embeddings, and a text's coordinates along them.

The nearest example tells whether a text is new; coordinates tell *which* known topics it is near,
so that a shift of the mix of known topics, or of style, shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.types import Floats

COUNT: Final = 12
"""Coordinates of a text; those beyond the index's axes are NaN."""
BLOCK_ROWS: Final = 4096
FITTED_ROWS: Final = 65_536
"""The most rows that are fitted, evenly spread; directions need no more."""
LONG: Final = 1024
"""Vectors longer than this have a covariance that costs too much."""
ROWS_OF_LONG: Final = 512
_LEAST_SHARE: Final = 1e-6
"""Of the total variance; a smaller axis is rounding error."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axes:
    """Directions ``(k, d)`` of unit length, k <= 12, and their common origin ``(d,)``.

    In order of falling variance; float32. The largest component of each is positive, so that the
    same index always gives the same signs.
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
        The most directions; fewer if the index has fewer (m - 1, d, or its rank).

    Notes
    -----
    Right singular vectors of the centred index: by the eigenvectors of its covariance in
    float64, or for vectors longer than 1,024 by those of the products of 512 rows. Cost:
    .1 s for 10,000 rows of 384, .3 s for any of 4,096.
    """
    short = index.shape[1] <= LONG
    rows = _evenly(index, most=FITTED_ROWS if short else ROWS_OF_LONG)
    centre, variances, directions = _covariance(rows) if short else _products(rows)
    real = variances[:count] > _LEAST_SHARE * max(float(variances.sum()), _LEAST_SHARE)
    chosen = directions[:count][real]
    heaviest = np.abs(chosen).argmax(axis=1)
    signs = np.sign(chosen[np.arange(len(chosen)), heaviest])
    return Axes(
        centre=centre.astype(np.float32),
        directions=(chosen * signs[:, None]).astype(np.float32),
    )


def coordinates(axes: Axes, vectors: npt.NDArray[np.floating]) -> Floats:
    """Place vectors ``(n, d)`` along the axes: ``(n, 12)``, float32 precision.

    Columns without an axis are NaN. The product is computed in float64 and rounded: the same text
    has the same coordinates in any batch, so that ties with the reference stay ties.
    """
    placed = np.full((len(vectors), COUNT), np.nan)
    away = np.asarray(vectors, dtype=np.float64) - axes.centre.astype(np.float64)
    found = away @ axes.directions.astype(np.float64).T
    placed[:, : len(axes.directions)] = found.astype(np.float32)
    return placed


def distance(axes: Axes, vectors: npt.NDArray[np.floating]) -> Floats:
    """Return distances ``(n,)`` of vectors ``(n, d)`` from the axes' space, float32 precision."""
    away = np.asarray(vectors, dtype=np.float64) - axes.centre.astype(np.float64)
    along = away @ axes.directions.astype(np.float64).T
    left = away - along @ axes.directions.astype(np.float64)
    lengths: Floats = np.sqrt(np.square(left).sum(axis=1))
    return lengths.astype(np.float32).astype(np.float64)


def dump_axes(axes: Axes) -> bytes:
    """Write the centre and then each direction, float32, row-major."""
    return np.vstack([axes.centre, axes.directions]).astype("<f4").tobytes()


def load_axes(body: bytes, *, dimension: int) -> Axes:
    """Read the bytes of :func:`dump_axes` for vectors of this length."""
    rows = np.frombuffer(body, dtype="<f4").reshape(-1, dimension)
    return Axes(centre=rows[0], directions=rows[1:])


def _evenly(index: npt.NDArray[np.floating], *, most: int) -> npt.NDArray[np.floating]:
    return index if len(index) <= most else index[:: -(-len(index) // most)]


def _covariance(rows: npt.NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Return centre, variances in falling order and directions, without copying the rows."""
    dimension = rows.shape[1]
    total, products = np.zeros(dimension), np.zeros((dimension, dimension))
    for begin in range(0, len(rows), BLOCK_ROWS):
        block = np.asarray(rows[begin : begin + BLOCK_ROWS], dtype=np.float64)
        total += block.sum(axis=0)
        products += block.T @ block
    centre = total / len(rows)
    variances, vectors = np.linalg.eigh(products / len(rows) - np.outer(centre, centre))
    return centre, variances[::-1], vectors.T[::-1]


def _products(rows: npt.NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Return the same from the products ``(m, m)`` of few long rows."""
    centre = np.asarray(rows.mean(axis=0, dtype=np.float64))
    exact = rows - centre
    squares, vectors = np.linalg.eigh(exact @ exact.T)
    squares, vectors = np.maximum(squares[::-1], 0.0), vectors.T[::-1]
    lengths = np.sqrt(np.maximum(squares, np.finfo(np.float64).tiny))
    return centre, squares / len(exact), vectors @ exact / lengths[:, None]
