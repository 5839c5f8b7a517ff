"""CPU time of several ways to do one thing, measured in turns.

Wall time tells how busy the machine is; CPU time of one process, taken in turns, makes
what disturbs one case disturb all of them, so that ratios hold on a shared machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(cases: Mapping[str, Callable[[], object]], *, rounds: int = 7) -> dict[str, float]:
    """Median CPU seconds (of this process, all threads) of one call of each case.

    Every round calls every case once and begins with the next one, after one unmeasured
    round. The garbage collector runs between calls, not in them.
    """
    spent: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for turn in range(-1, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds = _cpu_seconds(cases[name])
            if turn >= 0:
                spent[name].append(seconds)
    return {name: median(values) for name, values in spent.items()}


def _cpu_seconds(case: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        begin = time.process_time()
        case()
        return time.process_time() - begin
    finally:
        gc.enable()
