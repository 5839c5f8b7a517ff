"""Test whether the trial version is worse than the control beside it, at any time.

Both arms answer at the same time, each subject always from the same arm, and the intervals hold for
all looks together: looking every 5 minutes costs no false rollback.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from detectors.types import Floats

FEWEST_UNITS: Final = 20
"""With fewer subjects in an arm, a mean's variance is too uncertain to decide by."""
TIGHTEST: Final = 1.0 / 16.0
"""Share of the planned information about which the bounds are tightest (decision 0012)."""
_ODDS: Final = np.array([2.0, 4.0, 10.0, 50.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much worse the trial's mean is than the control's, in the metric's own unit.

    value
        Positive is worse.
    variance
        Of ``value``, over subjects; above 0.
    units
        Subjects of the smaller arm.
    """

    value: float
    variance: float
    units: int

    @property
    def information(self) -> float:
        """1 / variance: the measure of progress in confidence sequences, in place of requests."""
        return 1.0 / self.variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A degradation and its interval, valid at every look so far with the stated confidence."""

    value: float
    lo: float
    hi: float


def difference(
    trial: Floats,
    control: Floats,
    *,
    higher_is_better: bool,
    trial_subjects: npt.NDArray[np.int64] | None = None,
    control_subjects: npt.NDArray[np.int64] | None = None,
    rates: bool = False,
) -> Difference | None:
    """Compare one metric's values ``(n,)`` of the two arms; None with too few subjects.

    Values are clustered by subject (a session's requests fail together): the mean is of
    requests, its variance of subjects, linearised. NaN is left out. ``rates`` are 0 or 1:
    their variance is never below that of one failure more and one success more, so that
    20 successes in a row prove nothing.

    Cost: O(n log n).
    """
    one = _mean(trial, trial_subjects, rates=rates)
    other = _mean(control, control_subjects, rates=rates)
    if one is None or other is None:
        return None
    worse = other.value - one.value if higher_is_better else one.value - other.value
    variance = one.variance + other.variance
    return Difference(value=worse, variance=variance, units=min(one.units, other.units))


def bounds(found: Difference, *, alpha: float, planned: float) -> Bounds:
    """Bound the degradation: each end is wrong at any look with probability ``alpha``.

    Robbins' normal mixture in information time V = 1/variance,
    ``value ± sqrt((V+r)/V² · (2 ln(1/(2 alpha)) + ln((V+r)/r)))`` with r a sixteenth of the
    ``planned`` information. Asymptotic: it assumes means of some 20 subjects or more.

    At its defaults, success of 85 %, a look every 5 minutes for 24 hours: a trial that is no
    worse has a lower end above 0 in at most 3 % of 2,000 runs (100 to 5,000 requests);
    20 points worse at 100 requests a day is seen in 95 % of them, after 9.8 hours at the
    median, and 5 points at 1,000 a day in 92 %.
    Source: Robbins (1970), *Statistical methods related to the law of the iterated
    logarithm*; Howard et al. (2021), *Time-uniform confidence sequences*.
    """
    half = half_width(found.information, alpha=alpha, planned=planned)
    return Bounds(value=found.value, lo=found.value - half, hi=found.value + half)


def half_width(information: float, *, alpha: float, planned: float) -> float:
    """Return half the width of :func:`bounds` at an amount of information."""
    tightest = planned * TIGHTEST
    grown = information + tightest
    spread = 2.0 * math.log(0.5 / alpha) + math.log(grown / tightest)
    return math.sqrt(grown * spread) / information


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """One look's counts: requests of both arms since the previous look, and their failures."""

    trial_requests: int
    control_requests: int
    trial_failures: int
    control_failures: int


def failure_evidence(looks: Sequence[Failures]) -> float:
    """Return log10 of the evidence that the trial fails more often; errors, empty answers, NaN.

    Given how many requests of a look failed, the trial's share of them is hypergeometric
    where it fails as often as the control, whatever that rate is and however it changes from
    look to look. Each look's likelihood ratio under odds of 2, 4, 10 and 50 has mean 1 then,
    and so has the mean of their products: above log10(1/alpha) at any look with probability at
    most alpha. Exact; one arm alone says nothing. Source: Fisher's noncentral hypergeometric
    distribution; Ville's inequality.

    Raises
    ------
    ValueError
        A look has more failures than requests.
    """
    total = np.zeros(_ODDS.size)
    for look in looks:
        if look.trial_failures or look.control_failures:  # else the ratio is 1
            total += _log_ratio(look)
    return float((scipy.special.logsumexp(total) - math.log(_ODDS.size)) / math.log(10.0))


# --- inside -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mean:
    value: float
    variance: float
    units: int


def _mean(values: Floats, subjects: npt.NDArray[np.int64] | None, *, rates: bool) -> _Mean | None:
    known = np.isfinite(values)
    seen = np.asarray(values[known], dtype=np.float64)
    if seen.size < FEWEST_UNITS:
        return None
    mean = float(seen.mean())
    residuals = seen - mean
    if subjects is not None:
        _, where = np.unique(subjects[known], return_inverse=True)
        counts = np.bincount(where).astype(np.float64)
        residuals = np.bincount(where, weights=seen) - mean * counts
    units = residuals.size
    if units < FEWEST_UNITS:
        return None
    variance = float(np.sum(residuals**2)) / seen.size**2 * units / (units - 1)
    least = float(np.finfo(np.float64).tiny)
    if rates:
        smoothed = (float(seen.sum()) + 1.0) / (seen.size + 2.0)
        least = float(smoothed * (1.0 - smoothed) / (seen.size + 2.0))
    return _Mean(value=mean, variance=max(variance, least), units=units)


def _log_ratio(look: Failures) -> Floats:
    """Return the log-likelihood ratio of one look for each of the odds."""
    failures = look.trial_failures + look.control_failures
    if not (
        0 <= look.trial_failures <= look.trial_requests
        and 0 <= look.control_failures <= look.control_requests
    ):
        raise ValueError(f"more failures than requests: {look}")
    requests = look.trial_requests + look.control_requests
    possible = np.arange(
        max(0, failures - look.control_requests), min(failures, look.trial_requests) + 1
    )
    log_null = (
        _log_binomial(look.trial_requests, possible)
        + _log_binomial(look.control_requests, failures - possible)
        - _log_binomial(requests, np.asarray(failures))
    )
    log_odds = np.log(_ODDS)
    normaliser = scipy.special.logsumexp(log_null + log_odds[:, None] * possible, axis=1)
    return np.asarray(look.trial_failures * log_odds - normaliser, dtype=np.float64)


def _log_binomial(n: int, k: npt.NDArray[np.int64]) -> Floats:
    counted: Floats = (
        scipy.special.gammaln(n + 1.0)
        - scipy.special.gammaln(k + 1.0)
        - scipy.special.gammaln(n - k + 1.0)
    )
    return counted
