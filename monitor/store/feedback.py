"""Read business metrics and judge scores, which may come long after their record."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, VersionId

Floats = npt.NDArray[np.float64]

_READ = sa.text(
    "SELECT f.name, extract(epoch FROM f.at)::float8 AS at, f.value"
    " FROM feedback f JOIN records r"
    " ON r.adapter_id = f.adapter_id AND r.at = f.at AND r.id = f.record_id"
    " AND r.at >= :start AND r.at < :end"
    " WHERE f.adapter_id = :adapter AND r.version_id = :version"
    " AND f.at >= :start AND f.at < :end ORDER BY f.name, f.at"
)


def read(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
) -> dict[str, tuple[Floats, Floats]]:
    """Return per name the times (epoch seconds) and values given for a window's records."""
    bound = {"version": version_id, "adapter": adapter_id, "start": start, "end": end}
    named: dict[str, list[tuple[float, float]]] = {}
    for row in connection.execute(_READ, bound):
        named.setdefault(row.name, []).append((row.at, row.value))
    return {
        name: (np.array([at for at, _ in pairs]), np.array([value for _, value in pairs]))
        for name, pairs in named.items()
    }
