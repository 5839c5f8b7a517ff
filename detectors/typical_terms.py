"""Find terms typical of a group of texts: over-represented against the others."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from detectors.types import Floats

SURELY: Final = 3.0
"""Standard errors by which a typical term must be more frequent inside."""
LEAST_TEXTS: Final = 3
"""The fewest texts of the group that must have a typical term."""


def typical_terms(
    inside: npt.ArrayLike, outside: npt.ArrayLike, *, n_inside: int, n_outside: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find the terms that set a group apart, the most typical first.

    Signed root of the log-likelihood ratio (Dunning, "Accurate methods for the statistics of
    surprise and coincidence", Computational Linguistics 19 (1993), 61-74), of the texts that
    hold a term: a of n inside, b of m outside,

        z = +- sqrt(2 sum O log(O / E))    over the four counts, E at equal shares

    which is near a normal deviate where shares are equal, and unlike the log-odds ratio is
    as sure of a term that nobody else uses as it should be. A stop word is as frequent on
    both sides and has z near 0, in any language.

    Parameters
    ----------
    inside, outside
        ``(k,)``: texts of the group, and of the others, that hold each term.

    Returns
    -------
    Rows with z >= 3 and at least 3 texts inside, in order of falling z (equal ones in their
    own order), and the z of every term ``(k,)``. Groups drawn at random from real requests
    (BANKING77, SNIPS) had .1 such terms where they had 5 texts, .3 with 20 and .6 with 40.
    Cost: a few microseconds a thousand.
    """
    a = np.asarray(inside, dtype=np.float64)
    b = np.asarray(outside, dtype=np.float64)
    z = np.zeros(a.size)
    if n_inside and n_outside:
        share = (a / n_inside, b / n_outside)
        even = (a + b) / (n_inside + n_outside)
        ratio = sum(
            _likelihood(count, of, own) - _likelihood(count, of, even)
            for count, of, own in ((a, n_inside, share[0]), (b, n_outside, share[1]))
        )
        z = np.sign(share[0] - share[1]) * np.sqrt(np.maximum(2 * ratio, 0.0))
    ranked = np.argsort(-z, kind="stable")
    return ranked[(z[ranked] >= SURELY) & (a[ranked] >= LEAST_TEXTS)], z


def _likelihood(count: Floats, of: int, share: Floats) -> Floats:
    """Return the log-likelihood of ``count`` of ``of`` at a share, up to a constant."""
    return np.asarray(
        scipy.special.xlogy(count, share) + scipy.special.xlogy(of - count, 1.0 - share)
    )
