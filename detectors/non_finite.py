"""`non_finite`: answers whose log-probabilities are not numbers."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

NON_FINITE = RateDetector(
    name="non_finite",
    signals=("non_finite",),
    hard=True,
    profile=Profile(
        words=Phrases(
            "values that are no numbers",
            "more answers with log-probabilities that are no numbers",
            "fewer answers with log-probabilities that are no numbers",
            "answers with log-probabilities that are no numbers",
        ),
        clause="answers have broken log-probabilities",
        faults=(share_of("answers with numbers that are not finite", "non_finite"),),
    ),
)
"""An answer with at least one log-probability that is NaN or +inf: weights or kernels broke.

A hard signal: evaluated every minute, pages without waiting, from its own exact process. Not
part of `missing`, which also counts answers of under 4 tokens: users who ask for a yes or a
no must not wake anybody. A probability of zero (-inf) is a number here.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
