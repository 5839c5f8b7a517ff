"""`refusal`: answers that refuse."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

REFUSAL = RateDetector(
    name="refusal",
    signals=("refusal",),
    profile=Profile(
        rank=6,
        words=Phrases("refusals", "more refusals", "fewer refusals", "share of refusals changed"),
        clause="answers are refusals",
        faults=(share_of("refusals", "refusal"),),
    ),
)
"""An answer that begins with a refusal to help, in words or by how it ended.

Soft: some requests ought to be refused, so only a change of the rate says anything. An
adapter that was trained on too narrow data refuses what it used to answer; one that lost its
training answers what it used to refuse, which is a fall and no drift here.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
