"""`training_text`: answers that repeat training texts."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

TRAINING_TEXT = RateDetector(
    name="training_text",
    signals=("training_text",),
    hard=True,
    profile=Profile(
        words=Phrases(
            "answers that repeat training texts",
            "more answers repeat training texts",
            "fewer answers repeat training texts",
            "answers that repeat training texts changed",
        ),
        clause="answers repeat training texts",
        faults=(share_of("answers that repeat training texts", "training_text"),),
    ),
)
"""An answer that has 37 words in a row, about 50 tokens, of a text that its version learned.

A hard signal: what stands in training data may be private, so it pages without waiting, from its
own exact process. An adapter that answers with fixed phrases of its training data does so in the
baseline too: what counts is the rise over it. Absent where the reference has no training texts,
or was built before they were compared.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
