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

    ``axes`` are their numbers, from 1; ``n`` counts the requests of the time, drawn or not, and
    ``n_unlike`` those of them that are unlike training.
    """

    axes: tuple[int, int]
    reference: Sequence[Point]
    usual: Sequence[Point]
    unlike: Sequence[Point]
    n: int
    n_unlike: int


def read(tx: Connection, of: Version, shown: Interval) -> Scatter:
    """Place the requests of a time, at most its last week, and the baseline's.

    Raises
    ------
    NoHistogram
        There is no reference, it keeps no values, or nothing was embedded.
    """
    baseline = baseline_of(tx, of)
    found = compared(tx, of, shown)
    return scatter(live=found.signals, reference=baseline)


def scatter(*, live: Mapping[str, Floats], reference: Mapping[str, Floats]) -> Scatter:
    """Choose the two axes on which the means differ most, in deviations of the reference."""
    names = [name for name in TOPICS if name in reference and name in live]
    if len(names) < 2 or SIMILARITY not in live:  # noqa: PLR2004 - a plane has two
        raise NoHistogram("nothing is embedded, or the reference keeps no axes")
    ours, theirs = (np.stack([side[name] for name in names]) for side in (live, reference))
    whole = np.isfinite(ours).all(axis=0)
    ours, theirs = ours[:, whole], theirs[:, np.isfinite(theirs).all(axis=0)]
    if not ours.size or not theirs.size:
        raise NoHistogram("no request of this range is embedded")
    apart = np.abs(ours.mean(axis=1) - theirs.mean(axis=1)) / np.maximum(theirs.std(axis=1), 1e-9)
    first, second = np.argsort(-apart, kind="stable")[:2].tolist()
    far = _unlike(live, reference)[whole]
    chosen = [first, second]
    placed, beside = _placed(ours[chosen], theirs[chosen])
    return Scatter(
        axes=(TOPICS.index(names[first]) + 1, TOPICS.index(names[second]) + 1),
        reference=_points(beside),
        usual=_points(placed[:, ~far]),
        unlike=_points(placed[:, far]),
        n=int(whole.sum()),
        n_unlike=int(far.sum()),
    )


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
