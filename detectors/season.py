"""Model the reference's daily and weekly rhythm, and the hours and weekdays it has seen.

Hours and weekdays are UTC. A rhythm is removed from continuous signals before they are ranked, so
that a quiet night is compared with quiet nights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.types import SECONDS_PER_DAY, Floats

DAILY_FROM_DAYS = 3.0
WEEKLY_FROM_DAYS = 14.0
_SPAN_SLACK_DAYS = 0.25
"""Records rarely fall on both ends of the span that they cover."""
_CLIP = (0.005, 0.995)
_RCOND = 0.1
"""Directions the seen hours barely determine are left at zero: a harmonic fitted to office
hours must not swing at night. With all hours seen the smallest is .4 of the largest."""
_SEEN_RECORDS = 5
_EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0
_LARGE = 1e12
_TIED = 0.05
"""The chance that two values are equal above which a signal is treated as classes."""
_WAVES = ((np.cos, 1), (np.sin, 1), (np.cos, 2), (np.sin, 2))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Season:
    """Coefficients ``(S, 5)`` per signal: cos, sin of 24 h and 12 h, and the weekend.

    All zero if the reference is too short to distinguish a rhythm from chance.
    """

    coefficients: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeasonCoverage:
    """Hours of the day ``(24,)`` and weekdays ``(7,)``, Monday first, that were seen.

    An hour or weekday is seen once it holds 5 baseline records.
    """

    hours: npt.NDArray[np.bool_]
    weekdays: npt.NDArray[np.bool_]


def span_days(at: Floats) -> float:
    """Days from the first to the last record, 0 if there are none."""
    return float(at.max() - at.min()) / SECONDS_PER_DAY if at.size else 0.0


def spans(at: Floats, days: float) -> bool:
    """True if records span at least ``days``, with six hours of tolerance."""
    return span_days(at) >= days - _SPAN_SLACK_DAYS


def fit_season(at: Floats, values: Floats) -> Season:
    """Fit by least squares on the reference, clipped at its .5 and 99.5 % points.

    Two daily harmonics from 3 days of a signal on, or once it was measured at every hour; a
    weekend offset from 14 on. Under 3 days each day keeps a level of its own, so that a day
    that began high is no rhythm. The cost of estimating them is .02 sd or less at 1,000 records
    and is not corrected for.

    A signal of few values (solved or not, one to five stars) keeps its rhythm: less a curve,
    values that were equal would be ranked by the hour they came in.

    Parameters
    ----------
    at
        ``(n,)`` epoch seconds.
    values
        ``(n, S)``, NaN where not measured.
    """
    coefficients = np.zeros((values.shape[1], 5))
    whole = spans(at, DAILY_FROM_DAYS)
    if whole or fit_coverage(at).hours.all():
        design = _design(at)
        for row, column in zip(coefficients, values.T, strict=True):
            known = at[~np.isnan(column)]
            if spans(known, DAILY_FROM_DAYS):
                used = 5 if spans(known, WEEKLY_FROM_DAYS) else 4
                row[:used] = _least_squares(design[:, :used], column)
            elif fit_coverage(known).hours.all():
                row[:4] = _least_squares(design[:, :4], column, day=at // SECONDS_PER_DAY)
    return Season(coefficients=coefficients)


def remove_season(season: Season, at: Floats, values: Floats) -> Floats:
    """Subtract from values ``(n, S)`` the rhythm expected at their times."""
    if not season.coefficients.any():
        return values
    return values - _design(at) @ season.coefficients.T


def fit_coverage(at: Floats) -> SeasonCoverage:
    """Mark the hours of the day and weekdays of the baseline's records ``(n,)``."""
    return SeasonCoverage(
        hours=np.bincount(_hour(at), minlength=24) >= _SEEN_RECORDS,
        weekdays=np.bincount(_weekday(at), minlength=7) >= _SEEN_RECORDS,
    )


def covered(coverage: SeasonCoverage, at: Floats) -> npt.NDArray[np.bool_]:
    """Return which times fall in an hour *and* a weekday that the reference has seen.

    The effect of others is assumed (:mod:`detectors.day_effect`).
    """
    return coverage.hours[_hour(at)] & coverage.weekdays[_weekday(at)]


def _is_of_classes(values: Floats) -> bool:
    _, counts = np.unique(values, return_counts=True)
    return float(np.square(counts / values.size).sum()) > _TIED


def _least_squares(design: Floats, column: Floats, *, day: Floats | None = None) -> Floats:
    """Fit a column; ``day`` ``(n,)`` gives every day its own level."""
    known = ~np.isnan(column)
    if not known.any() or _is_of_classes(column[known]):
        return np.zeros(design.shape[1])
    finite = np.clip(column[known], -_LARGE, _LARGE)
    clipped = np.clip(finite, *np.quantile(finite, _CLIP))
    levels = np.zeros(clipped.size, dtype=np.int64)
    if day is not None:
        levels = np.unique(day[known], return_inverse=True)[1].reshape(-1)
    both = _centred(np.column_stack([design[known], clipped]), levels)
    solution, *_ = np.linalg.lstsq(both[:, :-1], both[:, -1], rcond=_RCOND)
    return np.asarray(solution, dtype=np.float64)


def _centred(values: Floats, levels: npt.NDArray[np.int64]) -> Floats:
    """Subtract from values ``(n, k)`` the mean of their level."""
    means = [np.bincount(levels, weights=column) / np.bincount(levels) for column in values.T]
    return values - np.column_stack(means)[levels]


def _design(at: Floats) -> Floats:
    angle = 2.0 * np.pi * (at % SECONDS_PER_DAY) / SECONDS_PER_DAY
    design = np.empty((at.size, 5))
    for column, (wave, harmonic) in enumerate(_WAVES):
        design[:, column] = wave(harmonic * angle)
    design[:, 4] = _weekday(at) >= 5  # noqa: PLR2004 - Saturday
    return design


def _hour(at: Floats) -> npt.NDArray[np.int64]:
    return (at % SECONDS_PER_DAY // 3600.0).astype(np.int64)


def _weekday(at: Floats) -> npt.NDArray[np.int64]:
    return ((at // SECONDS_PER_DAY).astype(np.int64) + _EPOCH_WEEKDAY) % 7
