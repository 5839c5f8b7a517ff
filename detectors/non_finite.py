"""`non_finite`: answers whose log-probabilities are not numbers."""

from __future__ import annotations

from detectors.rate_detector import RateDetector

NON_FINITE = RateDetector(name="non_finite", signals=("non_finite",), hard=True)
"""An answer with at least one log-probability that is NaN or +inf: weights or kernels broke.

A hard signal: evaluated every minute, pages without waiting, from its own exact process. Not
part of `missing`, which also counts answers of under 4 tokens: users who ask for a yes or a
no must not wake anybody. A probability of zero (-inf) is a number here.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
