"""The preset `classic`: textbook thresholds beside the evidence, for those who want them. Pure.

A detector that is past its threshold in three evaluations in a row opens a ticket, and
closes it after three within it. The preset does not page, move traffic or ask for a probe,
and it keeps to no budget: a p-value computed every 15 minutes is below .01 about seven
times a week although nothing has changed. ``docs/verdicts.md`` has the measured cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from detectors import profile_of
from detectors.textbook import Threshold

FOR: Final = 3
"""Evaluations in a row that open, and that close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """A detector's evaluations in a row on one side of its threshold, and its last value."""

    value: float
    past: int = 0
    within: int = 0
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaks:
    """The streaks of one version, by detector."""

    by_detector: Mapping[str, Streak] = field(default_factory=dict)

    def then(self, values: Mapping[str, float]) -> Streaks:
        """Absorb one evaluation's values; a detector without one keeps its streak.

        >>> streaks = Streaks()
        >>> for p_value in (0.004, 0.2, 0.004, 0.003, 0.009):
        ...     streaks = streaks.then({"logit_ks": p_value})
        >>> streaks.opened
        ('logit_ks',)
        """
        known = {
            name: _next(self.by_detector.get(name), value, threshold)
            for name, value in values.items()
            if (threshold := profile_of(name).threshold) is not None
        }
        return Streaks(by_detector={**self.by_detector, **known})

    @property
    def opened(self) -> tuple[str, ...]:
        """Detectors whose ticket is open."""
        return tuple(name for name, streak in self.by_detector.items() if streak.open)

    @property
    def words(self) -> list[str]:
        """Return the reason for each open ticket, with its numbers."""
        return [
            _words(name, self.by_detector[name], threshold)
            for name in self.opened
            if (threshold := profile_of(name).threshold) is not None
        ]


def _next(last: Streak | None, value: float, threshold: Threshold) -> Streak:
    last = last or Streak(value=value)
    if threshold.past(value):
        past = last.past + 1
        return replace(last, value=value, past=past, within=0, open=last.open or past >= FOR)
    within = last.within + 1
    return replace(last, value=value, past=0, within=within, open=last.open and within < FOR)


def _words(detector: str, streak: Streak, threshold: Threshold) -> str:
    sign = ">" if threshold.above else "<"
    now = f"{streak.value:.3g}"
    if streak.past:
        said = f"{now} {sign} {threshold.limit:g} in {streak.past} evaluations in a row"
    else:
        said = f"{now}, within {threshold.limit:g} in {streak.within} of {FOR} evaluations"
    return f"{detector} by the classic rule: {threshold.what} {said}"
