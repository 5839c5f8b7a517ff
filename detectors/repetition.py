"""`repetition`: answers that loop."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

REPETITION = RateDetector(
    name="repetition",
    signals=("loop",),
    hard=True,
    profile=Profile(
        rank=5,
        words=Phrases(
            "repetition", "answers repeat themselves", "answers repeat less", "repetition changed"
        ),
        clause="answers repeat themselves",
        faults=(share_of("answers in loops", "loop"),),
    ),
)
"""An answer that loops: the same words again until it is cut off.

A hard signal: evaluated every minute, pages without waiting, from its own exact process.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
