"""Hours from the onset of a drift to the alarm, against what the method was designed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.statistics.alarms import Asked, follow
from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import (
    CHECK_SECONDS,
    CHECKS_PER_DAY,
    DRIFTS,
    MONDAY,
    Drift,
    Regime,
    source,
)
from detectors.logit_ks import LOGIT_KS
from detectors.types import Process

SEED = 4_002
RUNS = 48
PER_CHECK = 40
REFERENCE_CHECKS = 14 * CHECKS_PER_DAY
SLACK = 1.25
"""A median delay may be so many times the published one."""
ASKED = {
    "notice 1": Asked(process=Process.NOTICE, budget=1.0),
    "page 1": Asked(process=Process.PAGE, budget=1.0),
    "page 0.001": Asked(process=Process.PAGE, budget=0.001),
}


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Follow every drift once in each run, against that run's own reference of 14 days."""
    delays: dict[str, dict[str, list[float]]] = {
        drift.name: {name: [] for name in ASKED} for drift in DRIFTS
    }
    for number in report.each("delays", range(3 if quick else RUNS)):
        for drift, found in zip(DRIFTS, once(number), strict=True):
            for name, hours in found.items():
                delays[drift.name][name].append(hours)
    return {
        "drifts": [
            {
                "name": drift.name,
                "followed_hours": drift.hours,
                "published": _published(drift),
                "hours": delays[drift.name],
            }
            for drift in DRIFTS
        ]
    }


def once(number: int, *, drifts: tuple[Drift, ...] = DRIFTS) -> list[dict[str, float]]:
    """Hours to the first alarm of each drift and asked process; inf if it never came."""
    rng = np.random.default_rng([SEED, number])
    drawn = source()
    steady = drawn.steady(
        Regime.INDEPENDENT, requests=REFERENCE_CHECKS * PER_CHECK, per_check=PER_CHECK, rng=rng
    )
    reference = LOGIT_KS.fit(steady.window(0, steady.at.size))
    start = MONDAY + CHECK_SECONDS * REFERENCE_CHECKS
    found = []
    for drift in drifts:
        live = drawn.drifted(drift, per_check=PER_CHECK, start=start, rng=rng)
        followed = follow(reference, live, first=0, start=start, asked=tuple(ASKED.values()))
        first = {name: followed[one].alarms for name, one in ASKED.items()}
        found.append(
            {name: _hours(int(at[0])) if at.size else np.inf for name, at in first.items()}
        )
    return found


def quantiles(hours: list[float]) -> tuple[float, float, float]:
    """Median, 10 % and 90 % points; inf where that many runs did not alarm."""
    ordered = np.sort(np.array(hours))
    low, middle, high = (
        float(np.quantile(ordered, q, method="inverted_cdf")) for q in (0.1, 0.5, 0.9)
    )
    return middle, low, high


def within(drift: Mapping[str, Any], name: str) -> bool | None:
    """Tell whether a stored median is at most 1.25 times the published one; None: none was."""
    published = drift["published"][name]
    if published is None:
        return None
    return bool(quantiles(drift["hours"][name])[0] <= SLACK * published)


def summary(found: Mapping[str, Any]) -> str:
    """One line a drift, for the terminal."""
    lines = []
    for drift in found["drifts"]:
        cells = [
            f"{name}: {quantiles(hours)[0]:g} h, published {drift['published'][name]}"
            for name, hours in drift["hours"].items()
        ]
        missed = [name for name in ASKED if within(drift, name) is False]
        lines.append(f"{drift['name']}: {'; '.join(cells)}{' MISSED' if missed else ''}")
    return "\n".join(lines)


def _hours(check: int) -> float:
    return (check + 1) * CHECK_SECONDS / 3600.0


def _published(drift: Drift) -> dict[str, float | None]:
    values = zip(ASKED, (drift.notice, drift.page, drift.page_rare), strict=True)
    return {name: None if np.isnan(hours) else hours for name, hours in values}
