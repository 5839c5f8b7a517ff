"""`prompt_length`: requests longer or shorter than before."""

from __future__ import annotations

from detectors.faults import Family, Fault, Unit, as_it_is
from detectors.profile import DetectorSide, Phrases, Profile
from detectors.rank_detector import RankDetector, largest_worsening

PROMPT_LENGTH = RankDetector(
    name="prompt_length",
    signals=("prompt_tokens",),
    pages=False,
    shown=largest_worsening,
    profile=Profile(
        side=DetectorSide.REQUESTS,
        words=Phrases(
            "length of requests",
            "requests longer",
            "requests shorter",
            "length of requests changed",
        ),
        faults=(
            Family(
                words="all requests longer",
                fault=Fault(signal="prompt_tokens"),
                unit=Unit.SD,
                told=as_it_is,
            ),
        ),
    ),
)
"""Tokens of the whole prompt as the engine counted them, both ways: a system prompt that a
client adds or drops, another template, documents put before the question, a context that is
cut. It says nothing of the model: it opens tickets, never pages and never moves traffic.

Shown: Cliff's delta, in [0, 1].
"""
