"""`errors`: requests that the serving side failed."""

from __future__ import annotations

from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rate_detector import RateDetector

ERRORS = RateDetector(
    name="errors",
    signals=("error",),
    hard=True,
    profile=Profile(
        rank=8,
        words=Phrases("errors", "more errors", "fewer errors", "errors changed"),
        clause="requests fail",
        faults=(share_of("requests that fail", "error"),),
    ),
)
"""A request that the serving side failed (any 5xx, 404, 408, no status at all: 0).

A hard signal: evaluated every minute, pages without waiting, from its own exact process.
A request that was wrong itself (400, 413, 422 …) is none: any client could send a thousand
of them, and a hard signal may move traffic.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
