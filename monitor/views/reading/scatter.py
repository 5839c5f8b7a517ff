"""Requests of a time beside the reference's, on the two stored axes on which they moved most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlalchemy import Connection

from detectors.signals import SIMILARITY, TOPICS
from detectors.types import Flags, Floats
from monitor.domain import Interval, Version
from monitor.views.reading.histogram import NoHistogram, baseline_of, compared

MOST: Final = 400
"""Points drawn of each side: more hide each other."""
UNLIKE: Final = 0.05
"""A request is unlike training below this quantile of the reference's similarities."""
_EDGE: Final = 0.005
"""Share of the points at each end of an axis that are drawn at its edge."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Points in [0, 1] x [0, 1] on two of the stored axes; ``unlike`` ones are ``live``, too.

    ``axes`` are their numbers, from 1, and ``known`` those of all; ``n`` counts the requests of
    the time, drawn or not, and ``n_unlike`` those of them that are unlike training.
    """

    axes: tuple[int, int]
    known: Sequence[int]
    reference: Sequence[Point]
    usual: Sequence[Point]
    unlike: Sequence[Point]
    n: int
    n_unlike: int


Axes = tuple[int | None, int | None]
"""The axes across and up that a person chose, from 1; None: the one that moved most."""


def read(tx: Connection, of: Version, shown: Interval, *, axes: Axes = (None, None)) -> Scatter:
    """Place the requests of a time, at most its last week, and the baseline's.

    Raises
    ------
    NoHistogram
        There is no reference, it keeps no values, or nothing was embedded.
    """
    baseline = baseline_of(tx, of)
    found = compared(tx, of, shown)
    return scatter(live=found.signals, reference=baseline, axes=axes)


def scatter(
    *, live: Mapping[str, Floats], reference: Mapping[str, Floats], axes: Axes = (None, None)
) -> Scatter:
    """Draw on the chosen axes, else on those whose means differ most in the reference's deviations.

    An axis that is not stored, or is chosen twice, counts as not chosen.
    """
    names = [name for name in TOPICS if name in reference and name in live]
    if len(names) < 2 or SIMILARITY not in live:  # noqa: PLR2004 - a plane has two
        raise NoHistogram("nothing is embedded, or the reference keeps no axes")
    ours, theirs = (np.stack([side[name] for name in names]) for side in (live, reference))
    whole = np.isfinite(ours).all(axis=0)
    ours, theirs = ours[:, whole], theirs[:, np.isfinite(theirs).all(axis=0)]
    if not ours.size or not theirs.size:
        raise NoHistogram("no request of this range is embedded")
    apart = np.abs(ours.mean(axis=1) - theirs.mean(axis=1)) / np.maximum(theirs.std(axis=1), 1e-9)
    numbers = [TOPICS.index(name) + 1 for name in names]
    moved = [numbers[place] for place in np.argsort(-apart, kind="stable").tolist()]
    across, up = _chosen(moved, axes)
    far = _unlike(live, reference)[whole]
    chosen = [numbers.index(across), numbers.index(up)]
    placed, beside = _placed(ours[chosen], theirs[chosen])
    return Scatter(
        axes=(across, up),
        known=numbers,
        reference=_points(beside),
        usual=_points(placed[:, ~far]),
        unlike=_points(placed[:, far]),
        n=int(whole.sum()),
        n_unlike=int(far.sum()),
    )


def _chosen(moved: Sequence[int], axes: Axes) -> tuple[int, int]:
    """Return the axes across and up; ``moved`` are all, the one that moved most first."""
    across, up = (one if one in moved else None for one in axes)
    up = None if up == across else up
    rest = [one for one in moved if one not in (across, up)]
    first = rest.pop(0) if across is None else across
    return first, rest[0] if up is None else up


def _unlike(live: Mapping[str, Floats], reference: Mapping[str, Floats]) -> Flags:
    known = reference.get(SIMILARITY, np.empty(0))
    known = known[np.isfinite(known)]
    return np.asarray(live[SIMILARITY] < (np.quantile(known, UNLIKE) if known.size else -np.inf))


def _placed(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Scale both sides to the unit square; the outermost points lie on its edges."""
    both = np.concatenate([ours, theirs], axis=1)
    low, high = np.quantile(both, [_EDGE, 1.0 - _EDGE], axis=1)
    room = np.maximum(high - low, 1e-9)
    scaled = ((side - low[:, None]) / room[:, None] for side in (ours, theirs))
    one, other = (np.clip(side, 0.0, 1.0) for side in scaled)
    return one, other


def _points(placed: Floats) -> list[Point]:
    """Return up to ``MOST`` points, evenly spread over all."""
    count = placed.shape[1]
    kept = np.unique(np.linspace(0, max(0, count - 1), min(count, MOST)).astype(int))
    return [(float(x), float(y)) for x, y in placed[:, kept].T]
