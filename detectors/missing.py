"""`missing`: measured records without usable numbers."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

MISSING = RateDetector(
    name="missing",
    signals=("missing",),
    profile=Profile(
        words=Phrases(
            "answers without token statistics",
            "more answers without usable token statistics",
            "fewer answers without usable token statistics",
            "usable token statistics changed",
        ),
        clause="answers lack log-probabilities",
        faults=(share_of("answers that cannot be measured", "missing"),),
    ),
)
"""A record whose logprobs came but hold fewer than 4 finite values.

Soft: it speaks of the engine or the way records are captured, and it guards the other
detectors, which leave such records out. A record that was never sent logprobs is absent,
not missing: NaN.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
