"""Assume how much days differ before a reference has shown it: a prior, not zero.

A reference of a few hours knows nothing of how other days move a signal, nor of hours and
weekdays it has not seen. What it cannot know is assumed: the day's common movement is a normal
shift of a request's value with the sd ``tau``. A live day then differs from the reference, the
mean of d days of its own, by a shift of the variance

    tau² (1 + 1/d),

and hours it has not seen by as much as a rhythm may move them. The null mean of every score is
widened to what z such sd and the rhythm do to that score; z leaves as many days beyond as the
budget allows (:func:`surprise`). Formula, bound and what it costs:
``docs/decisions/0025-a-short-reference-assumes-how-days-differ.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy

from detectors.season import SeasonCoverage
from detectors.types import SECONDS_PER_DAY, Floats

ASSUMED_SD: Final = 0.2
SHIFTS: Final = np.linspace(0.0, 3.0, 31)
"""Shifts, in sd, at which the scores' means are computed; linear in between."""
_ALLOWED: Final = 0.75
"""Days beyond the allowance, as a part of the budget. Little beyond is no alarm, far beyond is
several in a day: simulated, they nearly balance."""
_DAYS: Final = 30.0
FLEET_ADAPTERS: Final = 5
"""Other adapters whose days must be known before they inform a new one's."""
_FLEET_FLOOR: Final = 0.05
_TELLING_DAYS: Final = 7
_PSEUDO_DAYS: Final = 2.0
_SMALLEST_SHARE: Final = 1e-9
_FLATTEST: Final = 1e-3
"""A rate whose event never occurred cannot show how its days differ."""
_QUANTILES: Final = 1_024
_FINEST: Final = 4.0
"""Shares are rounded down to a quarter of an octave, since each needs its own null means."""


class Origin(StrEnum):
    """The origin of a day effect."""

    ASSUMED = "assumed"
    FLEET = "fleet"
    OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEffect:
    """The sd, in sd of a request's value, between days and between hours.

    Both 0 means that days and hours do not differ: nothing is assumed.
    """

    sd: float = ASSUMED_SD
    hours: float = ASSUMED_SD
    origin: Origin = Origin.ASSUMED


ASSUMED: Final = DayEffect()
ALIKE: Final = DayEffect(sd=0.0, hours=0.0)
"""Nothing is assumed: all days are alike."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unknown:
    """The uncertainty of a short reference about each score: K columns.

    seen, unseen
        Shifts between a live day and the reference ``(2, K)``, at hours and weekdays that it
        has seen and at others: the sd by day, and what a rhythm may add at most.
    parts
        Each score's part ``(K,)`` of the days that may lie beyond: 1 where all signals share
        one movement.
    rises
        By how much the mean of each score rises under each of ``SHIFTS`` ``(31, K)``.
    covered
        Share of the week that the reference has seen.
    effect
        What was assumed, or taken from the fleet or the reference's own days where they differ
        by more.
    """

    seen: Floats
    unseen: Floats
    parts: Floats
    rises: Floats
    covered: float
    effect: DayEffect

    @property
    def mostly_seen(self) -> bool:
        """True if most hours and weekdays of a week were seen."""
        return self.covered >= 0.5  # noqa: PLR2004 - that is what mostly means

    def rise(self, *, share: float, seen: bool) -> Floats:
        """Return the rise ``(K,)`` of each score's mean that such a budget must allow for."""
        by_day, rhythm = self.seen if seen else self.unseen
        shift = surprise(share * self.parts) * by_day + rhythm
        columns = zip(shift, self.rises.T, strict=True)
        return np.array([np.interp(one, SHIFTS, rises) for one, rises in columns])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """A reference's own evidence about its days: m units, K scores.

    at, scores
        The units, as the null was fitted on.
    deff
        Within days ``(K,)``.
    location
        For each score the column ``(K,)`` of its signal's location.
    steady
        Scores ``(K,)`` whose signal has no daily rhythm any more, or never had one.
    days_known
        Whether blocks of whole days are part of the design effect: then they speak for days.
    """

    at: Floats
    scores: Floats
    deff: Floats
    location: npt.NDArray[np.int64]
    steady: npt.NDArray[np.bool_]
    days_known: bool


def unknown_of(
    shown: Shown, coverage: SeasonCoverage, effect: DayEffect, *, parts: Floats, rises: Floats
) -> Unknown | None:
    """Return what a reference is too short to know; None if nothing is unknown or assumed.

    A rhythm of the sd ``hours`` has the amplitude a = √2 ``hours``. From the mean of a
    reference of h of 24 hours, unseen ones lie up to ``2 a (1 - h/24)`` away, and ``a h/24`` more
    where the rhythm could not be taken out; seen ones then up to ``a min(1, h/12)``.
    """
    everything = bool(coverage.hours.all() and coverage.weekdays.all())
    if (effect.sd == 0.0 and effect.hours == 0.0) or (shown.days_known and everything):
        return None
    own = own_sd(shown, rises, effect)
    between = own * np.sqrt(1.0 + 1.0 / days_of(shown.at, shown.scores))
    within, beyond = _rhythm(coverage, effect.hours, steady=shown.steady)
    moved = own.max() > effect.sd
    return Unknown(
        seen=np.zeros((2, own.size)) if shown.days_known else np.stack([between, within]),
        unseen=np.stack([between, beyond]),
        parts=parts,
        rises=rises,
        covered=covered_share(coverage),
        effect=replace(effect, sd=float(own.max()), origin=Origin.OWN) if moved else effect,
    )


def _rhythm(
    coverage: SeasonCoverage, hours: float, *, steady: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return how far seen and unseen hours may be from the reference's mean ``(K,)``."""
    part, amplitude = float(coverage.hours.mean()), np.sqrt(2.0) * hours
    left = np.where(steady, 0.0, 1.0)
    return (
        amplitude * left * min(1.0, 2.0 * part),
        amplitude * (2.0 * (1.0 - part) + left * part),
    )


def covered_share(coverage: SeasonCoverage) -> float:
    """Return the share of a week's hours that were seen."""
    return float(coverage.hours.mean() * coverage.weekdays.mean())


def older(coverage: SeasonCoverage, *, scores: int) -> Floats:
    """Return the unknown rhythm ``(4, K)`` of a reference by an older release, by its coverage.

    Two rows for seen times, then two for unseen ones. Such a reference did not store its length:
    all seven weekdays count as 7 days, which need no assumption, and fewer as that many days.
    Empty if nothing is unknown.
    """
    days, every = int(coverage.weekdays.sum()), coverage.weekdays.size
    if coverage.hours.all() and days == every:
        return np.zeros(0)
    by_day = np.full(scores, ASSUMED.sd * np.sqrt(1.0 + 1.0 / max(1, days)))
    within, beyond = _rhythm(coverage, ASSUMED.hours, steady=np.zeros(scores, dtype=np.bool_))
    seen = np.zeros((2, scores)) if days == every else np.stack([by_day, within])
    return np.vstack([seen, by_day, beyond])


def surprise(share: Floats) -> Floats:
    """Return the sd that a day exceeds ``share`` times in 30 days, in both directions.

    >>> surprise(np.array([1.0, 0.01])).round(2).tolist()
    [2.24, 3.66]
    """
    beyond = _ALLOWED * np.maximum(share, _SMALLEST_SHARE) / (2.0 * _DAYS)
    return np.asarray(-scipy.special.ndtri(np.minimum(beyond, 0.5)), dtype=np.float64)


def rounded(share: float) -> float:
    """Round down to one of few shares, so that a fleet that grows by one changes nothing.

    >>> 0.84 < rounded(0.9) == rounded(0.99) < 0.9
    True
    """
    safe = max(share, _SMALLEST_SHARE)
    return float(2.0 ** (np.floor(np.log2(safe) * _FINEST) / _FINEST))


def days_of(at: Floats, scores: Floats) -> Floats:
    """Return the effective number of UTC days behind each score ``(K,)``: ``(sum n)² / sum n²``."""
    counts = _day_sums(at, (~np.isnan(scores)).astype(np.float64))
    total = counts.sum(axis=0)
    squares = np.square(counts).sum(axis=0)
    return np.asarray(
        np.maximum(1.0, np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0))
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Between:
    """The spread of the scores' day means: columns K, in shifts of a request's value.

    variance
        Of the day means, and what of it is ``chance``: that of as many requests alone.
    freedom
        Days less one.
    """

    variance: Floats
    chance: Floats
    freedom: Floats


def own_sd(shown: Shown, rises: Floats, effect: DayEffect) -> Floats:
    """Return the sd between days ``(K,)``, larger if the reference's own days differ by more.

    The reference's share is the variance of day means beyond chance. It is weighted with the
    assumed one, which counts 2 days, and is never below that: a few similar days may be luck.
    """
    seen = _between(shown, rises)
    own = np.maximum(0.0, seen.variance - seen.chance)
    mixed = (_PSEUDO_DAYS * effect.sd**2 + seen.freedom * own) / (_PSEUDO_DAYS + seen.freedom)
    return np.asarray(np.sqrt(np.maximum(effect.sd**2, mixed)))


def shown_sd(shown: Shown, rises: Floats) -> float:
    """Return the upper 95 % limit of the sd between days, the largest over the signals.

    NaN if the days are not known yet.
    """
    if not shown.days_known:
        return np.nan
    seen = _between(shown, rises)
    told = seen.freedom >= _TELLING_DAYS - 1
    if not told.any():
        return np.nan
    factor = seen.freedom / scipy.special.chdtri(np.maximum(seen.freedom, 1.0), 0.95)
    return float(np.sqrt(np.maximum(0.0, seen.variance * factor - seen.chance)[told].max()))


def of_fleet(shown: Sequence[float], assumed: DayEffect) -> DayEffect:
    """Tighten the assumption by the days that at least 5 other adapters have shown.

    The largest of their upper limits, at least .05 sd. Where adapters are alike in kind, that of a
    newcomer is above it with a chance of at most ``1 / (n + 1) + 5 %`` of n adapters: its own is
    the largest of n + 1 once in n + 1, and the limit of the largest fails in 5 %. It only ever
    sharpens: a limit above what is assumed says that little is known.
    """
    if assumed.sd == 0.0 or len(shown) < FLEET_ADAPTERS:
        return assumed
    sd = max(_FLEET_FLOOR, *shown)
    return replace(assumed, sd=sd, origin=Origin.FLEET) if sd < assumed.sd else assumed


def _between(shown: Shown, rises: Floats) -> _Between:
    columns = shown.location
    slopes = np.maximum((rises[1] / SHIFTS[1])[columns], _FLATTEST)
    scores = shown.scores[:, columns]
    known = ~np.isnan(scores)
    counts = _day_sums(shown.at, known.astype(np.float64))
    used = counts > 1.0
    days = np.maximum(used.sum(axis=0), 1)
    freedom = (days - 1).astype(np.float64)
    sums = _day_sums(shown.at, np.where(known, scores - np.nanmean(scores, axis=0), 0.0))
    means = np.where(used, sums / np.maximum(counts, 1.0), 0.0)
    alone = shown.deff[columns] * np.nanvar(scores, axis=0)
    chance = np.where(used, alone / np.maximum(counts, 1.0), 0.0).sum(axis=0) / days
    return _Between(
        variance=np.square(means).sum(axis=0) / np.maximum(freedom, 1.0) / np.square(slopes),
        chance=chance / np.square(slopes),
        freedom=freedom,
    )


def rank_rises(ordered_ranks: Floats, scored: Callable[[Floats], Floats]) -> Floats:
    """Return the rise of one signal's mean scores ``(31, k)`` under each shift, the worse way.

    A shift moves the normal score of a value, so that units, tails and ties do not matter:
    the value at the quantile ``Phi(z)`` becomes the one at ``Phi(z ± shift)``.

    Parameters
    ----------
    ordered_ranks
        Mid-ranks of the reference's own sorted values ``(m,)``.
    scored
        Scores ``(n, k)`` of mid-ranks ``(n,)``.
    """
    z = scipy.special.ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)

    def means(shifts: Floats) -> Floats:
        place = scipy.special.ndtr(z + shifts[:, None]) * ordered_ranks.size
        ranks = ordered_ranks[np.minimum(place.astype(np.int64), ordered_ranks.size - 1)]
        scores = scored(ranks.ravel())
        return np.asarray(scores.reshape(shifts.size, _QUANTILES, -1).mean(axis=1))

    moved = np.maximum(means(SHIFTS), means(-SHIFTS))
    return np.asarray(np.maximum.accumulate(moved - moved[0], axis=0))


def rate_rises(rates: Floats) -> Floats:
    """Return the rise of rates ``(K,)`` under each shift ``(31, K)`` of a latent normal value."""
    with np.errstate(divide="ignore"):
        z = scipy.special.ndtri(rates)
    return np.asarray(scipy.special.ndtr(z + SHIFTS[:, None]) - rates)


def _day_sums(at: Floats, values: Floats) -> Floats:
    _, day = np.unique(at // SECONDS_PER_DAY, return_inverse=True)
    sums = np.zeros((int(day.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(sums, day.reshape(-1), values)
    return sums
