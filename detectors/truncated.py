"""`truncated`: answers that were cut off."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

TRUNCATED = RateDetector(
    name="truncated",
    signals=("truncated",),
    profile=Profile(
        words=Phrases(
            "truncated answers", "more answers cut off", "fewer answers cut off", "cut-offs changed"
        ),
        clause="answers are cut off",
        faults=(share_of("answers cut off", "truncated"),),
    ),
)
"""An answer that ended because it reached its limit of tokens, not because it was done.

Soft: longer answers are a change, not a failure by themselves; loops are caught by
`repetition` long before. Records that do not say how they ended are absent: NaN.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
