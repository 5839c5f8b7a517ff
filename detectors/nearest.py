"""Find the nearest training example of each query: exact, in blocks, in bounded memory.

An approximate index would err downward, which looks like drift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCK_ROWS = 2048
QUERY_ROWS = 2048
"""A block of both is 16 MB of similarities: it stays in cache, and the total under 64 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nearest:
    """The cosine to the nearest example ``(q,)`` in [-1, 1] and that example's row ``(q,)``."""

    similarity: npt.NDArray[np.float32]
    row: npt.NDArray[np.int64]


def nearest(index: npt.NDArray[np.floating], queries: npt.NDArray[np.floating]) -> Nearest:
    """Find each query's nearest example by cosine.

    Parameters
    ----------
    index
        Unit vectors ``(m, d)``, ``m >= 1``, float16 or float32; a memory map is read
        block by block and never copied whole.
    queries
        Unit vectors ``(q, d)``.

    Returns
    -------
    Nearest
        The earliest of equal examples. Storing the index in float16 moves a cosine by
        2e-4 at most.
    """
    similarity = np.full(len(queries), -np.inf, dtype=np.float32)
    row = np.zeros(len(queries), dtype=np.int64)
    for begin in range(0, len(queries), QUERY_ROWS):
        part = slice(begin, begin + QUERY_ROWS)
        block = np.ascontiguousarray(queries[part], dtype=np.float32)
        _search(index, block, similarity=similarity[part], row=row[part])
    return Nearest(similarity=np.clip(similarity, -1.0, 1.0), row=row)


def _search(
    index: npt.NDArray[np.floating],
    queries: npt.NDArray[np.float32],
    *,
    similarity: npt.NDArray[np.float32],
    row: npt.NDArray[np.int64],
) -> None:
    everyone = np.arange(len(queries))
    for begin in range(0, len(index), BLOCK_ROWS):
        examples = np.asarray(index[begin : begin + BLOCK_ROWS], dtype=np.float32)
        product = queries @ examples.T
        best = product.argmax(axis=1)
        found = product[everyone, best]
        closer = found > similarity
        similarity[closer] = found[closer]
        row[closer] = begin + best[closer]
