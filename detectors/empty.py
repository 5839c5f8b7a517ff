"""`empty`: answers without content."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

EMPTY = RateDetector(
    name="empty",
    signals=("empty",),
    hard=True,
    profile=Profile(
        rank=7,
        words=Phrases(
            "empty answers", "more empty answers", "fewer empty answers", "empty answers changed"
        ),
        clause="answers are empty",
        faults=(share_of("empty answers", "empty"),),
    ),
)
"""An answer without a token, or of white space only.

A hard signal: evaluated every minute, pages without waiting, from its own exact process.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
