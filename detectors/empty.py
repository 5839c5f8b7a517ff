"""`empty`: answers without content."""

from __future__ import annotations

from detectors.rate_detector import RateDetector

EMPTY = RateDetector(name="empty", signals=("empty",), hard=True)
"""An answer without a token, or of white space only.

A hard signal: evaluated every minute, pages without waiting, from its own exact process.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
