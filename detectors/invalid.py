"""`invalid`: answers that a machine cannot parse."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

INVALID = RateDetector(
    name="invalid",
    signals=("invalid",),
    profile=Profile(
        words=Phrases(
            "invalid answers",
            "more invalid answers",
            "fewer invalid answers",
            "invalid answers changed",
        ),
        clause="answers are invalid",
        faults=(share_of("answers that are not valid", "invalid"),),
    ),
)
"""An answer that was to be JSON, or a call of a tool, and is not.

Soft: a caller may be used to repair some. Records of which no form was asked are absent: NaN,
so that their share in the traffic does not move the rate.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
