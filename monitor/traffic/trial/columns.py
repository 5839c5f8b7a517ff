"""Two columns of one signal, and the degradation of one against the other. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.trial import Difference, difference
from detectors.types import Floats
from monitor.traffic.trial.guards import Guard, GuardKind

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One signal of one arm: values ``(n,)``, NaN where not measured, and subjects.

    Subjects are codes ``(n,)``, -1 where none was given; None where no record has one.
    """

    values: Floats
    subjects: Codes | None = None


def degradation(guard: Guard, kind: GuardKind, trial: Column, control: Column) -> Difference | None:
    """Return how much worse the trial is, compared by its kind; None with too few subjects."""
    higher = guard.higher_is_better
    if kind is GuardKind.RATE:
        return difference(
            trial.values,
            control.values,
            higher_is_better=higher,
            trial_subjects=_units(trial),
            control_subjects=_units(control),
            rates=True,
        )
    return _cliffs_delta(trial, control, higher_is_better=higher)


def compared(guard: Guard, trial: Column, control: Column) -> Column:
    """Return 1 for each pair whose worse answer is the trial's, -1 for the better, else 0.

    Pairs with an unknown side are left out; each pair without a subject counts as its own
    subject.
    """
    worse = np.sign(trial.values - control.values)
    known = np.isfinite(worse)
    subjects = _units(control)
    return Column(
        values=-worse[known] if guard.higher_is_better else worse[known],
        subjects=None if subjects is None else subjects[known],
    )


def _cliffs_delta(trial: Column, control: Column, *, higher_is_better: bool) -> Difference | None:
    """P(trial worse) - P(control worse), by the placements of each arm in the other.

    Source: DeLong, DeLong and Clarke-Pearson (1988), clustered by subject as Obuchowski (1997).
    """
    sign = -1.0 if higher_is_better else 1.0
    one, other = _known(trial), _known(control)
    if one.values.size == 0 or other.values.size == 0:
        return None
    x, y = sign * one.values, sign * other.values
    found = difference(
        _placements(x, y),
        _placements(y, x),
        higher_is_better=False,
        trial_subjects=_units(one),
        control_subjects=_units(other),
    )
    if found is None:
        return None
    # Both placements have the same mean, so their difference moves twice as far as either.
    # One more pair in either direction: without overlap the variance must not be 0.
    least = 0.5 / (x.size + 2.0) ** 2 + 0.5 / (y.size + 2.0) ** 2
    return Difference(
        value=found.value, variance=4.0 * max(found.variance, least), units=found.units
    )


def _placements(values: Floats, among: Floats) -> Floats:
    """Share of ``among`` below each value, ties by half, in [0, 1]."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, values, side="left")
    until = np.searchsorted(ordered, values, side="right")
    return np.asarray((below + until) / (2.0 * ordered.size), dtype=np.float64)


def _known(column: Column) -> Column:
    kept = np.isfinite(column.values)
    subjects = None if column.subjects is None else column.subjects[kept]
    return Column(values=column.values[kept], subjects=subjects)


def _units(column: Column) -> Codes | None:
    """Return the subjects; each request without one is a subject of its own."""
    if column.subjects is None:
        return None
    alone = -1 - np.arange(column.subjects.size)
    return np.where(column.subjects < 0, alone, column.subjects)


def count(column: Column | None) -> int:
    """Count the measured values."""
    return 0 if column is None else int(np.isfinite(column.values).sum())


def kind_of(trial: Column | None, control: Column | None) -> GuardKind:
    """Return the kind of feedback: zeros and ones are a rate; any other numbers, ranks."""
    given = [c.values[np.isfinite(c.values)] for c in (trial, control) if c is not None]
    two_valued = all(bool(np.isin(values, (0.0, 1.0)).all()) for values in given)
    return GuardKind.RATE if two_valued else GuardKind.RANK
