"""Feedback of which the bad part comes days late: through the product's own rules.

Solved or not is said of every request: that it is solved at once, that it is not a day and more
later. The reference is frozen in the middle of the stream, from what had come by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from benchmarks.statistics.alarms import Asked, Followed, check_increments, evidence
from benchmarks.statistics.live_signals import is_solved
from benchmarks.statistics.streams import CHECK_SECONDS, MONDAY, per_day, times
from detectors import rank_reference
from detectors.day_effect import ALIKE
from detectors.feedback import FEEDBACK, Directions
from detectors.types import SECONDS_PER_DAY, Floats, Window
from monitor.domain import Arrival
from monitor.reference.baseline import Baseline, settled
from monitor.store.records.feedback import laid_out

DIRECTIONS: Final = Directions(higher_is_better=("solved",))
SETTLES_AFTER: Final = timedelta(days=3)
"""The default of ``detectors.feedback.settles_after``."""
_AT_LEAST, _MEAN_MORE = 1.0, 0.7
"""Days until a complaint comes; 6 % of them take longer than three."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """Requests by time, whether each was solved, and when that is said ``(n,)``."""

    at: Floats
    solved: np.ndarray
    given_at: Floats


def draw(
    *,
    requests: int,
    per_check: int,
    day: float,
    rng: np.random.Generator,
    worse_from: float = np.inf,
) -> Said:
    """Draw requests from a Monday midnight on.

    From ``worse_from`` (epoch seconds) on, twice as many are not solved.
    """
    at = times(requests, per_check)
    solved = is_solved(day * per_day(at, rng) + rng.normal(size=at.size))
    solved &= (at < worse_from) | (rng.random(at.size) > 0.15 / 0.85)
    late = SECONDS_PER_DAY * (_AT_LEAST + rng.exponential(_MEAN_MORE, at.size))
    return Said(at=at, solved=solved, given_at=at + np.where(solved, 0.0, late))


def follow_late(
    said: Said,
    *,
    known_days: int,
    asked: tuple[Asked, ...],
    settles_after: timedelta | None = SETTLES_AFTER,
) -> Mapping[Asked, Followed]:
    """Freeze what had been said after so many days, then follow what comes.

    ``settles_after`` None: as if all that is going to be said had been said by then. Days are known
    to be alike, so that a short reference assumes nothing and this alone is seen.
    """
    begun = MONDAY + known_days * SECONDS_PER_DAY
    until = datetime.fromtimestamp(begun, tz=UTC) - (settles_after or timedelta(0))
    reference = FEEDBACK.fit(_baseline(said, begun=begun, until=until), days=ALIKE)
    since = None if settles_after is None else until
    window = _arrived(said, begun=begun, since=since)
    placed = rank_reference.place(reference, window)
    every = np.ones(len(window), dtype=np.bool_)
    units = rank_reference.units_of(reference, window, placed, only=every)
    assert window.entered is not None  # noqa: S101 - _arrived gives it
    units = replace(units, at=window.entered - CHECK_SECONDS / 2)
    checks = round((said.at[-1] - begun) / CHECK_SECONDS)
    increments = {
        one: check_increments(reference.null, one, units, start=begun, checks=checks)
        for one in asked
    }
    return evidence(increments, weights=reference.null.weights)


def _baseline(said: Said, *, begun: float, until: datetime) -> Window:
    """What a builder reads: requests up to now, and what was said of them so far."""
    n = int(np.searchsorted(said.at, begun))
    solved, given_at = said.solved[:n].tolist(), said.given_at[:n].tolist()
    nothing: list[Any] = [None] * n
    live = Baseline(
        at=said.at[:n],
        subjects=None,
        signals={},
        strata=nothing,
        prompts=nothing,
        encoders=nothing,
        vectors=nothing,
        feedback=[
            {"solved": float(good)} if given < begun else {}
            for good, given in zip(solved, given_at, strict=True)
        ],
        outputs=nothing,
        answered_by=nothing,
        answers=nothing,
    )
    return settled(live, before=until).window({}, DIRECTIONS)


def _arrived(said: Said, *, begun: float, since: datetime | None) -> Window:
    """What evaluations read afterwards, each number in the window in which it came."""
    last = float(said.at[-1])
    rows = np.flatnonzero((said.given_at >= begun) & (said.given_at < last))
    checks = (said.given_at[rows] - begun) // CHECK_SECONDS
    entered = begun + CHECK_SECONDS * (checks + 1.0)
    arrivals = [
        Arrival(
            id=row,
            record_id=f"{row}",
            at=at,
            name="solved",
            value=float(solved),
            context_id=0,
            subject=None,
            entered=end,
        )
        for row, at, solved, end in zip(
            rows.tolist(),
            said.at[rows].tolist(),
            said.solved[rows].tolist(),
            entered.tolist(),
            strict=True,
        )
    ]
    given = laid_out(arrivals, names=("solved",), since=since)
    signals = DIRECTIONS.signals
    return Window(
        start=begun,
        end=last,
        at=given.at,
        signals={signals[name]: values for name, values in given.values.items()},
        subjects=given.subjects,
        entered=given.entered,
    )
