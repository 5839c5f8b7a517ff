"""Read scores over time for charts: a bounded number of points for any span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import VersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One detector's scores, oldest first; columns of equal length.

    A point stands for the windows that ended within one step: the largest score and the largest
    evidence among them, at the end of the last. None if it has no finite value.
    """

    detector: str
    at: Sequence[datetime]
    value: Sequence[float | None]
    evidence_notice: Sequence[float | None]
    evidence_page: Sequence[float | None]


_SERIES: Final = sa.text(
    """
    SELECT detector,
           max(at) AS at,
           max(value) FILTER (WHERE abs(value) < 'Infinity') AS value,
           max(evidence_notice) FILTER (WHERE abs(evidence_notice) < 'Infinity') AS notice,
           max(evidence_page) FILTER (WHERE abs(evidence_page) < 'Infinity') AS page
    FROM scores
    WHERE version_id = :version_id AND at > :since AND at <= :until
    GROUP BY detector, date_bin(:step, at, :since)
    ORDER BY detector, at
    """
)


def score_series(
    tx: Connection, *, version_id: VersionId, since: datetime, until: datetime, points: int = 300
) -> list[Series]:
    """Return each detector's scores in ``(since, until]``, at most about ``points`` of each."""
    step = max((until - since) / points, timedelta(milliseconds=1))
    bound = {"version_id": version_id, "since": since, "until": until, "step": step}
    rows: dict[str, list[sa.Row[tuple[object, ...]]]] = {}
    for row in tx.execute(_SERIES, bound):
        rows.setdefault(row.detector, []).append(row)
    return [
        Series(
            detector=detector,
            at=[row.at for row in found],
            value=[row.value for row in found],
            evidence_notice=[row.notice for row in found],
            evidence_page=[row.page for row in found],
        )
        for detector, found in rows.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """One detector's effects with their 95 % intervals, oldest first; columns of equal length.

    A point is the last window that ended within one step; windows without a finite effect are left
    out.
    """

    detector: str
    at: Sequence[datetime]
    effect: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


_EFFECTS: Final = sa.text(
    """
    SELECT DISTINCT ON (detector, date_bin(:step, at, :since))
           detector, at, effect, effect_low, effect_high
    FROM scores
    WHERE version_id = :version_id AND at > :since AND at <= :until
      AND abs(effect) < 'Infinity' AND abs(effect_low) < 'Infinity'
      AND abs(effect_high) < 'Infinity'
    ORDER BY detector, date_bin(:step, at, :since), at DESC
    """
)


def effect_series(
    tx: Connection, *, version_id: VersionId, since: datetime, until: datetime, points: int = 150
) -> list[Effects]:
    """Return each detector's effects in ``(since, until]``, at most about ``points`` of each."""
    step = max((until - since) / points, timedelta(milliseconds=1))
    bound = {"version_id": version_id, "since": since, "until": until, "step": step}
    rows: dict[str, list[sa.Row[tuple[object, ...]]]] = {}
    for row in tx.execute(_EFFECTS, bound):
        rows.setdefault(row.detector, []).append(row)
    return [
        Effects(
            detector=detector,
            at=[row.at for row in found],
            effect=[row.effect for row in found],
            low=[row.effect_low for row in found],
            high=[row.effect_high for row in found],
        )
        for detector, found in rows.items()
    ]


def raised(tx: Connection, *, version_id: VersionId, since: datetime, until: datetime) -> list[str]:
    """Return the detectors that a verdict of ``(since, until]`` rested on."""
    query = sa.text(
        "SELECT DISTINCT detector FROM scores WHERE version_id = :version_id"
        " AND at > :since AND at <= :until AND verdict IN ('critical', 'drifting')"
        " ORDER BY detector"
    )
    bound = {"version_id": version_id, "since": since, "until": until}
    return list(tx.execute(query, bound).scalars())
