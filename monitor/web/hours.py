"""Verdicts of the last day by the hour, as the fleet's heat map draws them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Final

from alerts.types import VerdictKind
from monitor.store.evaluation.verdicts import KindChange
from monitor.store.traffic.fleet import WORST_FIRST

HOURS: Final = 24
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictHours:
    """Hours in a row that have one worst verdict; ``first`` counts from the oldest hour, 0."""

    kind: VerdictKind
    first: int
    hours: int


def first_hour(now: datetime) -> datetime:
    """Return when the oldest hour begins; the newest one is under way."""
    return now.replace(minute=0, second=0, microsecond=0) - (HOURS - 1) * HOUR


def stretches(
    changes: Sequence[KindChange], kind: VerdictKind, *, begun: datetime, now: datetime
) -> list[VerdictHours]:
    """Return the worst verdict of each hour, neighbours that are equal as one.

    Parameters
    ----------
    changes
        Changes of the verdict since the oldest hour began, oldest first.
    kind
        The verdict in force.
    begun
        When the version was registered: earlier hours have no verdict.
    """
    start = first_hour(now)
    held = [
        (begun, changes[0].before if changes else kind),
        *((one.at, one.after) for one in changes),
        (now, kind),
    ]
    worst: list[VerdictKind | None] = [None] * HOURS
    for (since, was), (until, _) in pairwise(held):
        for hour in range(max(0, (since - start) // HOUR), min((until - start) // HOUR + 1, HOURS)):
            worst[hour] = min((was, worst[hour] or was), key=WORST_FIRST.index)
    found = groupby(enumerate(worst), key=lambda one: one[1])
    runs = [(was, [hour for hour, _ in group]) for was, group in found]
    return [
        VerdictHours(kind=was, first=run[0], hours=len(run)) for was, run in runs if was is not None
    ]
