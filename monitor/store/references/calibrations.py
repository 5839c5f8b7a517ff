"""Store a ready reference's calibration per detector, and its bins per signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import ReferenceId
from monitor.store.rows import shaped, stored
from monitor.store.tables.references import reference_bins, reference_calibrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A detector's own bytes, or why the baseline cannot calibrate it. Exactly one is set."""

    body: bytes | None
    absent_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bins:
    """Edges ``(255,)`` and the baseline's counts ``(256,)`` of one signal."""

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int32]


def insert(
    connection: Connection,
    reference_id: ReferenceId,
    *,
    calibrations: Mapping[str, Calibration],
    bins: Mapping[str, Bins],
) -> None:
    """Store a reference's calibrations by detector and its bins by signal."""
    bodies = [
        stored(reference_calibrations, one, reference_id=reference_id, detector=detector)
        for detector, one in calibrations.items()
    ]
    edges = [
        {
            "reference_id": reference_id,
            "signal": signal,
            "edges": one.edges.astype("<f8").tobytes(),
            "counts": one.counts.astype("<i4").tobytes(),
        }
        for signal, one in bins.items()
    ]
    if bodies:
        connection.execute(reference_calibrations.insert(), bodies)
    if edges:
        connection.execute(reference_bins.insert(), edges)


def read(connection: Connection, reference_id: ReferenceId) -> dict[str, Calibration]:
    """Read every detector's calibration."""
    c = reference_calibrations.c
    query = sa.select(c.detector, c.body, c.absent_reason).where(c.reference_id == reference_id)
    rows = connection.execute(query).mappings()
    return {row["detector"]: shaped(Calibration, row) for row in rows}


def read_bins(connection: Connection, reference_id: ReferenceId) -> dict[str, Bins]:
    """Read every signal's bins."""
    c = reference_bins.c
    query = sa.select(c.signal, c.edges, c.counts).where(c.reference_id == reference_id)
    return {
        row.signal: Bins(
            edges=np.frombuffer(row.edges, dtype="<f8"),
            counts=np.frombuffer(row.counts, dtype="<i4"),
        )
        for row in connection.execute(query)
    }
