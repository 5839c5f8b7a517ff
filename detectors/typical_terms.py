"""Which terms are typical of a group of texts: over-represented against the others."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.types import Floats

PRIOR: Final = 10.0
"""Texts that say nothing but what all say, added to either side."""
SURELY: Final = 2.0
"""Standard errors by which a typical term is more frequent inside."""
LEAST_TEXTS: Final = 3
"""A term of fewer texts of the group is not typical of it."""


def typical_terms(
    inside: npt.ArrayLike, outside: npt.ArrayLike, *, n_inside: int, n_outside: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find the terms that set a group apart, the most typical first.

    Log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi and Quinn, "Fightin'
    Words", Political Analysis 16 (2008), 372-403), of texts that hold the term: with
    a of n inside, b of m outside and p the rate of both together,

        d = log((a + 10 p) / (n - a + 10 (1 - p))) - log((b + 10 p) / (m - b + 10 (1 - p)))
        z = d / sqrt(the sum of the reciprocals of these four)

    A stop word is as frequent on both sides and has z near 0, in any language; a word that
    stands in one text has a large variance.

    Parameters
    ----------
    inside, outside
        ``(k,)``: texts of the group, and of the others, that hold each term.

    Returns
    -------
    Rows with z >= 2 and at least 3 texts inside, in order of falling z (equal ones in their
    own order), and the z of every term ``(k,)``. Cost: a few microseconds a thousand.
    """
    a = np.asarray(inside, dtype=np.float64)
    b = np.asarray(outside, dtype=np.float64)
    rate = (a + b) / max(n_inside + n_outside, 1)
    with_it, without = PRIOR * rate + _TINY, PRIOR * (1 - rate) + _TINY
    sides = ((a, n_inside), (b, n_outside))
    inner, outer = (np.log((k + with_it) / (n - k + without)) for k, n in sides)
    variance = sum(1 / (k + with_it) + 1 / (n - k + without) for k, n in sides)
    z = (inner - outer) / np.sqrt(variance)
    ranked = np.argsort(-z, kind="stable")
    return ranked[(z[ranked] >= SURELY) & (a[ranked] >= LEAST_TEXTS)], z


_TINY: Final = 1e-9
"""A term that every text holds, or none, leaves nothing on one side."""
