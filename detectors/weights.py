"""Measure what an adapter adds to its base model, from the weights alone.

A LoRA update is ``s B A`` with ``A`` (r, n), ``B`` (m, r) and a scale ``s``. Its singular
values are those of an r by r core, so the m by n matrix is never formed:

    ``B = Qb Rb``, ``A^T = Qa Ra``, ``svd(s B A) = svd(s Rb Ra^T)``

because ``Qa`` and ``Qb`` have orthonormal columns and change no singular value. Neither is
formed: only the triangles are needed, and those can be had from blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from detectors.types import Floats

NEGLIGIBLE_SHARE = 0.01
"""A singular value below this share of the largest adds nothing visible."""
ROUNDING = 1e-12
"""Share of a sum that rounding may take away."""
FAR = 6.0
"""Robust standard deviations from which an update is an outlier among its mates."""
MAD_TO_SD = 1.4826
"""Normal standard deviations per median absolute deviation."""


def triangle(blocks: Iterable[Floats], *, width: int) -> Floats:
    """Return ``R`` of the QR decomposition of stacked blocks of rows ``(m_i, width)``.

    One block is in memory at a time: the triangle of what has been seen is stacked on the
    next block (Demmel et al. 2012, communication-optimal QR, the sequential case). Signs of
    rows are LAPACK's and mean nothing. Cost: ``2 m width^2`` operations.

    >>> rows = np.arange(12.0).reshape(6, 2)
    >>> whole, parts = triangle([rows], width=2), triangle([rows[:1], rows[1:]], width=2)
    >>> np.allclose(whole.T @ whole, rows.T @ rows), np.allclose(abs(whole), abs(parts))
    (True, True)
    """
    seen = np.empty((0, width))
    for block in blocks:
        seen = np.asarray(np.linalg.qr(np.vstack([seen, block]), mode="r"), dtype=np.float64)
    return seen


def singular_values(a: Floats, b: Floats, *, scale: float) -> Floats:
    """Return the singular values of ``scale B A``, largest first, from two triangles.

    Parameters
    ----------
    a, b
        Triangles of ``A^T`` and of ``B``, ``(<= r, r)`` each, of :func:`triangle`.
    scale
        ``alpha / r``, or ``alpha / sqrt(r)`` for rsLoRA.

    Returns
    -------
    ``min`` of the two heights many values, >= 0; all infinite where the product is beyond
    float64. Equal to those of the full matrix within about 1e-15 of the largest.

    >>> b, a = np.array([[3.0, 0.0], [0.0, 4.0]]), np.eye(2)
    >>> print(singular_values(a, b, scale=2.0))
    [8. 6.]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        core = scale * (b @ a.T)
    if not np.isfinite(core).all():
        return np.full(min(core.shape), np.inf)
    return np.asarray(np.linalg.svd(core, compute_uv=False), dtype=np.float64)


def effective_rank(values: Floats) -> int:
    """Return how many directions the update uses; 0 for a zero update.

    Counts singular values of at least 1 % of the largest.

    >>> effective_rank(np.array([5.0, 1.0, 0.04])), effective_rank(np.zeros(3))
    (2, 0)
    """
    return int(np.sum(values >= NEGLIGIBLE_SHARE * values[0])) if values.any() else 0


def entropy_rank(values: Floats) -> float:
    """Return how evenly the update uses its directions; 0 for a zero update.

    ``exp(H(p))`` with ``p = s / sum(s)`` (Roy and Vetterli 2007): between 1, where one
    direction does all, and ``r``, where all do the same.

    >>> [round(entropy_rank(np.array(s)), 9) for s in ([1.0, 1.0, 1.0], [2.0, 0.0], [0.0])]
    [3.0, 1.0, 0.0]
    """
    if not values.any():
        return 0.0
    share = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def energy_rank(values: Floats, *, share: float = 0.9) -> int:
    """Return how many directions hold a share of the energy; 0 for a zero update.

    The energy is the sum of squared singular values, largest first.

    >>> energy_rank(np.array([3.0, 1.0, 1.0, 1.0])), energy_rank(np.zeros(2))
    (3, 0)
    """
    if not values.any():
        return 0
    seen = np.cumsum((values / values[0]) ** 2)
    return int(np.searchsorted(seen, share * seen[-1] * (1 - ROUNDING))) + 1


def distance(cross_a: Floats, cross_b: Floats, *, sizes: tuple[float, float]) -> float:
    """Return the Frobenius distance of two updates ``s B A`` and ``t D C``; >= 0.

    ``|X - Y|^2 = |X|^2 + |Y|^2 - 2 <X, Y>`` with ``<s B A, t D C> = sum (B^T D) * (A C^T)``, so
    only two small matrices are formed. Equal updates are within 1e-7 of their size.

    Parameters
    ----------
    cross_a, cross_b
        ``A C^T`` and ``s t B^T D``, ``(r, r')`` each.
    sizes
        ``|X|`` and ``|Y|``.

    >>> b, a = np.array([[2.0], [0.0]]), np.array([[3.0, 4.0]])
    >>> distance(a @ a.T, 3 * b.T @ b, sizes=(10.0, 30.0))
    20.0
    """
    inner = float(np.sum(cross_a * cross_b))
    x, y = sizes
    return float(np.sqrt(max(0.0, x * x + y * y - 2.0 * inner)))


def frobenius(values: Floats) -> float:
    """Return the size of the update: the root of the sum of squares of its entries.

    >>> frobenius(np.array([3.0, 4.0]))
    5.0
    """
    return float(np.hypot.reduce(values)) if len(values) else 0.0


def robust_z(values: Floats) -> Floats:
    """Return each value's distance from the median in robust standard deviations.

    ``(x - median) / (1.4826 MAD)``: up to half of the values may be anything without moving
    the yardstick. Where most are equal, a value that differs is infinitely far.

    >>> print(robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2))
    [-1.35 -0.67  0.    0.67 65.43]
    """
    away = values - np.median(values)
    yardstick = MAD_TO_SD * float(np.median(np.abs(away)))
    if yardstick == 0.0:
        return np.where(away == 0.0, 0.0, np.copysign(np.inf, away))
    return away / yardstick
