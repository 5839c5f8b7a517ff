"""Hours from onset to alarm, against the delays measured for the method.

Reference of 14 days x 96 checks x 40 requests; medians of 6 runs at budget 1. The bound is
1.25 times the published median; sizes are in sd of the per-request mean NLL.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detectors.logit_ks import LOGIT_KS
from detectors.types import Floats, Process

Change = Callable[[Floats, Floats, np.random.Generator], Floats]

RUNS = 6
FORTNIGHT = 14 * 96


def shift(size: float) -> Change:
    return lambda _at, z, _rng: z + size


def bad_requests(share: float) -> Change:
    return lambda _at, z, rng: np.where(rng.random(z.size) < share, z + 5.0, z)


def wider(_at: Floats, z: Floats, _rng: np.random.Generator) -> Floats:
    return 1.5 * z


def ramp(at: Floats, z: Floats, _rng: np.random.Generator) -> Floats:
    return z + 0.5 * np.minimum((at - at[0]) / (3 * 86_400.0), 1.0)


def medians(simulation: Any, change: Change, hours: int) -> dict[Process, float]:
    runs = [
        simulation.run(
            LOGIT_KS,
            seed=seed,
            reference_checks=FORTNIGHT,
            live_checks=4 * hours,
            before=simulation.traffic(),
            after=simulation.traffic(change=change),
        )
        for seed in range(RUNS)
    ]
    return {p: np.median([run.first.get(p, np.inf) for run in runs]) for p in Process}


@pytest.mark.parametrize(
    ("change", "hours", "notice", "page"),
    [
        pytest.param(shift(0.2), 16, 9.9, np.inf, id="mean +.2"),
        pytest.param(shift(0.5), 6, 1.75, 3.0, id="mean +.5"),
        pytest.param(shift(3.0), 2, 0.25, 0.25, id="garbage"),
        pytest.param(wider, 8, 2.25, 4.1, id="spread x 1.5"),
        pytest.param(bad_requests(0.05), 8, 2.9, 4.5, id="5 % bad requests"),
    ],
)
def test_drift_is_seen_in_time(
    simulation: Any, change: Change, hours: int, notice: float, page: float
) -> None:
    seen = medians(simulation, change, hours)
    assert seen[Process.NOTICE] <= 1.25 * notice
    assert seen[Process.PAGE] <= 1.25 * page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "hours", "notice", "page"),
    [
        pytest.param(shift(0.1), 96, 39.0, np.inf, id="mean +.1"),
        pytest.param(shift(1.0), 4, 0.5, 0.75, id="mean +1"),
        pytest.param(bad_requests(0.02), 72, 11.5, 48.0, id="2 % bad requests"),
        pytest.param(bad_requests(0.10), 6, 1.0, 1.25, id="10 % bad requests"),
        pytest.param(ramp, 80, 29.0, 51.0, id="ramp to .5 in 3 days"),
    ],
)
def test_small_and_slow_drift_is_seen_in_time(
    simulation: Any, change: Change, hours: int, notice: float, page: float
) -> None:
    seen = medians(simulation, change, hours)
    assert seen[Process.NOTICE] <= 1.25 * notice
    assert seen[Process.PAGE] <= 1.25 * page


def test_a_small_shift_never_pages(simulation: Any) -> None:
    # +.2 sd is Cliff's delta .11; the page process counts +.1 and its own error as nothing
    seen = medians(simulation, shift(0.2), 16)
    assert seen[Process.PAGE] == np.inf
