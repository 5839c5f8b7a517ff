"""Store the states of the evidence processes, and their increments."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from detectors.types import Floats, Process, State
from monitor.domain import ReferenceId, VersionId
from monitor.policy.facts import Increment
from monitor.store.rows import shaped, stored
from monitor.store.tables.evaluations import increments, process_states

STATE_FORMAT: Final = 1


def pack(arrays: Mapping[str, Floats]) -> bytes:
    """Encode arrays as npz bytes; read back with ``allow_pickle=False``."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(body: bytes) -> dict[str, Floats]:
    """Read what :func:`pack` wrote."""
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def dump_state(state: State) -> bytes:
    """Encode a state exactly: :func:`load_state` returns the same floats."""
    watermark = np.nan if state.watermark is None else state.watermark
    meta = np.array([STATE_FORMAT, watermark, state.units], dtype=np.float64)
    return pack({"meta": meta, **{f"log_m_{p.value}": a for p, a in state.log_m.items()}})


def load_state(body: bytes) -> State:
    """Read what :func:`dump_state` wrote; raises ValueError for another format."""
    arrays = unpack(body)
    version, watermark, units = arrays.pop("meta")
    if version != STATE_FORMAT:
        raise ValueError(f"process state has format {version:g}, this release reads {STATE_FORMAT}")
    return State(
        log_m={Process(name.removeprefix("log_m_")): array for name, array in arrays.items()},
        watermark=None if np.isnan(watermark) else float(watermark),
        units=int(units),
    )


def states(tx: Connection, *, version_id: VersionId, reference_id: ReferenceId) -> dict[str, State]:
    """Return the state per detector; one without a state of this reference starts afresh."""
    rows = tx.execute(
        sa.select(process_states.c.detector, process_states.c.body).where(
            process_states.c.version_id == version_id,
            process_states.c.reference_id == reference_id,
        )
    )
    return {row.detector: load_state(row.body) for row in rows}


def put_states(
    tx: Connection,
    *,
    version_id: VersionId,
    reference_id: ReferenceId,
    by_detector: Mapping[str, State],
) -> None:
    """Store the detectors' states after a window."""
    made = insert(process_states)
    replaced = {name: made.excluded[name] for name in ("reference_id", "body")}
    key = {"version_id": version_id, "reference_id": reference_id}
    rows = [
        {**key, "detector": detector, "body": dump_state(state)}
        for detector, state in by_detector.items()
    ]
    if rows:
        tx.execute(
            made.on_conflict_do_update(
                index_elements=["version_id", "detector"],
                set_=replaced | {"updated_at": sa.func.now()},
            ),
            rows,
        )


def begin_anew(tx: Connection, *, version_id: VersionId, detectors: Collection[str]) -> None:
    """Reset these detectors' evidence, and delete its increments.

    Later windows must then cross by their own evidence, and no onset lies before this.
    """
    for table in (process_states, increments):
        tx.execute(
            table.delete().where(
                table.c.version_id == version_id, table.c.detector.in_(list(detectors))
            )
        )


def put_increments(
    tx: Connection,
    *,
    version_id: VersionId,
    reference_id: ReferenceId,
    by_detector: Mapping[str, Increment],
) -> None:
    """Store one window's increments for onset and recovery (dropped after 7 days)."""
    rows = [
        stored(
            increments,
            increment,
            version_id=version_id,
            detector=detector,
            reference_id=reference_id,
            body=pack({p.value: a for p, a in increment.by_process.items()}),
        )
        for detector, increment in by_detector.items()
    ]
    if rows:
        tx.execute(insert(increments).on_conflict_do_nothing(), rows)


def history(
    tx: Connection,
    *,
    version_id: VersionId,
    reference_id: ReferenceId,
    detector: str,
    since: datetime,
) -> list[Increment]:
    """Return the increments of windows that ended after ``since``, oldest first."""
    rows = tx.execute(
        sa.select(
            increments.c.at, increments.c.window_start, increments.c.n_units, increments.c.body
        )
        .where(
            increments.c.version_id == version_id,
            increments.c.detector == detector,
            increments.c.at > since,
            increments.c.reference_id == reference_id,
        )
        .order_by(increments.c.at)
    )
    return [
        shaped(
            Increment,
            row,
            by_process={Process(name): array for name, array in unpack(row["body"]).items()},
        )
        for row in rows.mappings()
    ]
