"""Cluster the vectors of requests that are unlike training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.types import Floats

MOST_ROWS: Final = 2_000
"""More rows are refused, since every pair is compared."""
LEAST_ROWS: Final = 3
"""Fewer rows are no cluster: a close pair always occurs by chance."""
ALIKE: Final = 0.55
ONE: Final = 0.70
"""The cosines above which two texts are of one kind, and two kinds are one."""
_USUAL: Final = 0.22
"""The mean cosine of two unrelated texts of one business, for which both were tuned."""

Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearness:
    """Two cosines in (0, 1].

    Texts with at least ``alike`` belong to one cluster; clusters with at least ``one`` are merged.
    """

    alike: float = ALIKE
    one: float = ONE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """C clusters of n rows, the largest first.

    label
        ``(n,)``: each row's cluster, -1 if it is in none.
    centres
        ``(C, d)``: unit vectors.
    cohesion
        ``(C,)``: mean cosine of the members to their centre, in [alike, 1]; 1 if all are equal.
    """

    label: Ints
    centres: Floats32
    cohesion: Floats

    def __len__(self) -> int:
        return len(self.centres)


def nearness(unrelated: float) -> Nearness:
    """Adapt the thresholds to an encoder whose unrelated texts have this mean cosine.

    An encoder that puts all texts into a narrow cone (a mean cosine of .8, say) needs higher
    thresholds: they stay at .42 and .62 of the way from unrelated to equal. They are never lowered:
    a mixed business has a low mean, but its subjects are no wider for it.

    >>> nearness(0.1)
    Nearness(alike=0.55, one=0.7)
    >>> round(nearness(0.8).alike, 2), round(nearness(0.8).one, 2)
    (0.88, 0.92)
    """

    def at(level: float) -> float:
        return max(level, unrelated + (level - _USUAL) / (1 - _USUAL) * (1 - unrelated))

    return Nearness(alike=at(ALIKE), one=at(ONE))


def find_clusters(
    vectors: npt.NDArray[np.floating],
    *,
    near: Nearness | None = None,
    least: int = LEAST_ROWS,
) -> Clusters:
    """Find the groups among vectors, by their cosines.

    The vector with the most neighbours (cosine >= ``alike``) leads; it and its neighbours are
    removed, and so on among the rest, until a leader has fewer than ``least``: leader clustering in
    the order of Butina (1999). A broad subject has several leaders, so the nearest two centres are
    merged into their mean while their cosine is at least ``one``. Finally, each vector joins its
    nearest centre, if their cosine is at least ``alike``; groups of fewer than ``least`` rows are
    dropped.

    Parameters
    ----------
    vectors
        ``(n, d)``, n <= 2,000, of any length but 0; float16 is enough.

    Returns
    -------
    Clusters
        The same groups for any order of the rows; equal rows are in the same group. The number of
        groups is not chosen, and nothing is random.

    Raises
    ------
    ValueError
        Too many rows, or a vector that is 0 or not finite.

    Notes
    -----
    Cost: 2 n² d operations and 5 n² bytes; 2,000 rows of 384 take .2 to .4 s of one core.
    On real requests (BANKING77 with intents left out of the training, SNIPS) with MiniLM
    the larger clusters hold 90 % or more of one intent: ``tests/detectors/test_clusters.py``.

    Source: D. Butina, "Unsupervised data base clustering based on Daylight's fingerprint
    and Tanimoto similarity", J. Chem. Inf. Comput. Sci. 39 (1999), 747-750.
    """
    near = near or Nearness()
    distinct, place, weight = _distinct(_unit(vectors))
    centres = _merged(_led(distinct, weight, near=near, least=least), one=near.one)
    cosine = distinct @ centres.T
    label = _nearest(cosine, alike=near.alike)
    sizes = np.bincount(label[label >= 0], weights=weight[label >= 0], minlength=len(centres))
    kept = np.flatnonzero(sizes >= least)
    # the rows are sorted by their values by now, so ties depend on nothing else
    first = np.array([np.argmax(label == each) for each in kept], dtype=np.int64)
    kept = kept[np.lexsort((first, -sizes[kept]))]
    renamed = np.full(len(centres) + 1, -1)
    renamed[kept] = np.arange(len(kept))
    label = renamed[label]
    return Clusters(
        label=label[place],
        centres=centres[kept],
        cohesion=np.array(
            [
                np.average(cosine[label == new, old], weights=weight[label == new])
                for new, old in enumerate(kept)
            ]
        ),
    )


def _unit(vectors: npt.NDArray[np.floating]) -> Floats32:
    if len(vectors) > MOST_ROWS:
        raise ValueError(f"{len(vectors)} vectors; at most {MOST_ROWS} are compared")
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if wrong.size:
        raise ValueError(f"vector {wrong[0]} is 0 or not finite")
    return np.asarray(rows / lengths, dtype=np.float32)


def _distinct(rows: Floats32) -> tuple[Floats32, Ints, Floats]:
    """Return distinct rows in an order that depends only on them, each row's index, and counts."""
    if not len(rows):
        return rows, np.empty(0, dtype=np.int64), np.empty(0)
    order = np.lexsort(rows.T[::-1])
    changes = np.any(rows[order][1:] != rows[order][:-1], axis=1)
    number = np.concatenate(([0], np.cumsum(changes)))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = number
    first = np.concatenate(([True], changes))
    return rows[order][first], place, np.bincount(number).astype(np.float64)


def _led(rows: Floats32, weight: Floats, *, near: Nearness, least: int) -> Floats:
    """Return the sums ``(k, d)`` of the rows around each leader."""
    alike = rows @ rows.T >= near.alike
    around = alike @ weight
    free = np.ones(len(rows), dtype=bool)
    sums = []
    while free.any():
        leader = int(np.argmax(np.where(free, around, -1.0)))
        if around[leader] < least:
            break
        members = alike[leader] & free
        members[leader] = True
        sums.append((weight[members, None] * rows[members]).sum(axis=0))
        free &= ~members
        around = around - alike[:, members] @ weight[members]
    return np.array(sums).reshape(len(sums), rows.shape[1])


def _merged(sums: Floats, *, one: float) -> Floats32:
    """Return unit centres after repeatedly merging the nearest two."""
    sums = sums.copy()
    centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    cosine = centres @ centres.T
    np.fill_diagonal(cosine, -1.0)
    alive = np.ones(len(sums), dtype=bool)
    while cosine.size:
        kept, gone = map(int, np.unravel_index(cosine.argmax(), cosine.shape))
        if cosine[kept, gone] < one:
            break
        sums[kept] += sums[gone]
        centres[kept] = sums[kept] / np.linalg.norm(sums[kept])
        alive[gone] = False
        cosine[gone] = cosine[:, gone] = -1.0
        cosine[kept] = cosine[:, kept] = np.where(alive, centres @ centres[kept], -1.0)
        cosine[kept, kept] = -1.0
    return np.asarray(centres[alive], dtype=np.float32)


def _nearest(cosine: npt.NDArray[np.floating], *, alike: float) -> Ints:
    if not cosine.size:
        return np.full(len(cosine), -1, dtype=np.int64)
    best = cosine.argmax(axis=1)
    return np.where(cosine.max(axis=1) >= alike, best, -1)
