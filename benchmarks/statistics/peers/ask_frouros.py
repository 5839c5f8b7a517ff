"""Frouros: its KS test on each summary, at the usual p < .05."""

from __future__ import annotations

import numpy as np
from frouros.detectors.data_drift import KSTest

_LEVEL = 0.05


def alarms(reference: np.ndarray, live: np.ndarray, *, per_check: int) -> dict[str, list[int]]:
    """Checks at which the test of any summary is below its level."""
    tests = []
    for column in reference.T:
        test = KSTest()
        test.fit(X=column)
        tests.append(test)
    batches = live.reshape(-1, per_check, live.shape[1])
    alarmed = [
        check
        for check, batch in enumerate(batches)
        if any(
            test.compare(X=column)[0].p_value < _LEVEL
            for test, column in zip(tests, batch.T, strict=True)
        )
    ]
    return {"KSTest, p < .05, any summary": alarmed}
