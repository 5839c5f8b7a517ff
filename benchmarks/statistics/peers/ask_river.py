"""River: ADWIN and KSWIN with their defaults, one on each summary, request by request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from river import drift


def alarms(reference: np.ndarray, live: np.ndarray, *, per_check: int) -> dict[str, list[int]]:
    """Checks within which any summary's detector signalled drift; both saw the reference."""
    return {
        "ADWIN, any summary": _follow(drift.ADWIN, reference, live, per_check),
        "KSWIN, any summary": _follow(lambda: drift.KSWIN(seed=1), reference, live, per_check),
    }


def _follow(
    make: Callable[[], Any], reference: np.ndarray, live: np.ndarray, per_check: int
) -> list[int]:
    alarmed: set[int] = set()
    for before, after in zip(reference.T, live.T, strict=True):
        detector = make()
        for value in before.tolist():
            detector.update(value)
        for number, value in enumerate(after.tolist()):
            detector.update(value)
            if detector.drift_detected:
                alarmed.add(number // per_check)
    return sorted(alarmed)
