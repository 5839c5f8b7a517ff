"""`answer_format`: answers in another format than before."""

from __future__ import annotations

from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector
from detectors.signals import FORMAT_SIGNALS

ANSWER_FORMAT = RateDetector(
    name="answer_format",
    signals=FORMAT_SIGNALS,
    pages=False,
    profile=Profile(
        words=Phrases.of("form of answers", "answers come in another form"),
        clause="answers have another form",
    ),
)
"""Each answer has one format, recognised by its structure: JSON, code, a list or table, prose.

A format that becomes rarer makes another more frequent, so only rises need to be seen. Soft, and a
ticket: a client that asks for another format gets one.

Shown: the largest rise of a format's share over the reference.
"""
