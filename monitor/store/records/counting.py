"""Count records without reading them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, Interval, Recent, Traffic, VersionId
from monitor.store.records import contexts
from monitor.store.records.records import EARLIEST, LATEST
from monitor.strata import alike


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSettings:
    """The number of records of some settings, and the time of the first."""

    count: int
    first_at: datetime | None


def count_arrivals(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    window: Interval,
    made_before: datetime | None = None,
) -> int:
    """Count the records that arrived in a window; ``made_before`` counts older ones only.

    With ``made_before``, every stored day is visited: use it only if something old has come.
    """
    query = (
        "SELECT count(*) FROM records WHERE adapter_id = :adapter AND version_id = :version"
        " AND received_at >= :start AND received_at < :end"
    )
    query += " AND at < :edge" if made_before is not None else " AND at >= :edge AND at < :last"
    bounds = {
        "version": version_id,
        "adapter": adapter_id,
        "start": window.start,
        "end": window.end,
        "edge": made_before or window.start - LATEST,
        "last": window.end + EARLIEST,
    }
    return int(connection.execute(sa.text(query), bounds).scalar_one())


def strata(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
) -> dict[str, int]:
    """Count a window's records per settings stratum, the largest first."""
    query = sa.text(
        "SELECT c.stratum, count(*) AS n FROM records r JOIN contexts c ON c.id = r.context_id"
        " WHERE r.adapter_id = :adapter AND r.version_id = :version"
        " AND r.at >= :start AND r.at < :end GROUP BY c.stratum ORDER BY n DESC, c.stratum"
    )
    bounds = {"adapter": adapter_id, "version": version_id, "start": start, "end": end}
    return {row.stratum: row.n for row in connection.execute(query, bounds)}


def of_settings(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    strata: Sequence[str],
    start: datetime,
    end: datetime,
) -> OfSettings:
    """Count a version's records of some settings in ``[start, end)``."""
    query = sa.text(
        "SELECT count(*) AS count, min(at) AS first_at FROM records"
        " WHERE adapter_id = :adapter AND version_id = :version AND at >= :start AND at < :end"
        " AND context_id = ANY(:contexts)"
    )
    bound = {
        "adapter": adapter_id,
        "version": version_id,
        "start": start,
        "end": end,
        "contexts": contexts.of_strata(connection, strata),
    }
    return OfSettings(**connection.execute(query, bound).mappings().one())


def traffic(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
) -> Traffic:
    """Count a version's records in ``[start, end)``, and find the newest one's time.

    The interval bounds the search on purpose: finding the last record of a version without any
    would read every record of its adapter.
    """
    wanted = Compared(version_id=version_id, adapter_id=adapter_id)
    rows = _counted(connection, [wanted], start=start, end=end, most=None)[version_id]
    return Traffic(count=sum(row.n for row in rows), last_at=_last(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A version with the strata to compare with, None for all, and the settings that must match."""

    version_id: VersionId
    adapter_id: AdapterId
    strata: Sequence[str] | None = None
    needs: frozenset[str] = frozenset()


def recent(
    connection: Connection,
    wanted: Sequence[Compared],
    *,
    start: datetime,
    end: datetime,
    enough: int,
) -> dict[VersionId, Recent]:
    """Count several versions' comparable records in ``[start, end)``, no further than ``enough``.

    Cost: one statement, which reads the adapters' newest records; most are of the version that has
    the traffic. Another reads all those of versions that have too few comparable ones among these.
    """
    rows = _counted(connection, wanted, start=start, end=end, most=2 * enough)
    few = [one for one in wanted if _recent(rows[one.version_id], one).compared < enough]
    if few:
        rows |= _counted(connection, few, start=start, end=end, most=None)
    return {one.version_id: _recent(rows[one.version_id], one) for one in wanted}


def _recent(rows: Sequence[Any], of: Compared) -> Recent:
    compared = sum(
        row.n for row in rows if of.strata is None or alike(row.stratum, of.strata, of.needs)
    )
    return Recent(compared=compared, last_at=_last(rows))


def _last(rows: Sequence[Any]) -> datetime | None:
    return max((row.last_at for row in rows), default=None)


def _counted(
    connection: Connection,
    wanted: Sequence[Compared],
    *,
    start: datetime,
    end: datetime,
    most: int | None,
) -> dict[VersionId, list[Any]]:
    """Count versions' records by settings: all, or those among their adapters' ``most`` newest."""
    bounds = {
        "versions": [one.version_id for one in wanted],
        "adapters": [one.adapter_id for one in wanted],
        "start": start,
        "end": end,
        **({} if most is None else {"most": most}),
    }
    found: dict[VersionId, list[Any]] = {one.version_id: [] for one in wanted}
    for row in connection.execute(_ALL if most is None else _NEWEST, bounds):
        found[row.version_id].append(row)
    return found


_COUNTED: Final = (
    "SELECT w.version_id, c.stratum, r.n, r.last_at"
    " FROM unnest(CAST(:versions AS int[]), CAST(:adapters AS int[]))"
    " AS w (version_id, adapter_id),"
    " LATERAL (SELECT context_id, count(*) AS n, max(at) AS last_at"
    " FROM (SELECT version_id, context_id, at FROM records"
    " WHERE adapter_id = w.adapter_id AND at >= :start AND at < :end{}) own"
    " WHERE version_id = w.version_id"
    " GROUP BY context_id OFFSET 0) r JOIN contexts c ON c.id = r.context_id"
)
_ALL: Final = sa.text(_COUNTED.format(""))
# the version's own condition stands outside: the planner takes it for one that few rows meet, and
# would sort the whole day
_NEWEST: Final = sa.text(_COUNTED.format(" ORDER BY at DESC LIMIT :most"))
