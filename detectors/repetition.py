"""`repetition`: answers that loop."""

from __future__ import annotations

from detectors.rate_detector import RateDetector

REPETITION = RateDetector(name="repetition", signals=("loop",), hard=True)
"""An answer that loops: the same words again until it is cut off.

A hard signal: evaluated every minute, pages without waiting, from its own exact process.

Shown: the rise of the rate over the reference, 0 where it fell.
"""
