"""Store the states of the evidence processes, and their increments."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec
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


Packed = dict[str, tuple[Literal["<f4", "<f8"], tuple[int, ...], bytes]]
"""The type, shape and bytes of arrays by name."""
_NPZ: Final = b"PK"
"""How bodies of earlier releases begin."""


def pack(arrays: Mapping[str, Floats]) -> bytes:
    """Encode arrays: a seventh of the bytes that npz takes for ten numbers."""
    return msgspec.msgpack.encode(
        {name: (one.dtype.str, one.shape, one.tobytes()) for name, one in arrays.items()}
    )


def unpack(body: bytes) -> dict[str, Floats]:
    """Read what :func:`pack` wrote, now or as npz; anything else is a ``msgspec.DecodeError``."""
    if body.startswith(_NPZ):
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    return {
        name: np.frombuffer(values, kind).reshape(shape).copy()
        for name, (kind, shape, values) in msgspec.msgpack.decode(body, type=Packed).items()
    }


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


Watched = tuple[VersionId, ReferenceId]
"""A version, and the reference that its processes compare with."""


def states(
    tx: Connection, of: Collection[Watched], *, detectors: Collection[str]
) -> dict[Watched, dict[str, State]]:
    """Return some detectors' states; one without a state of this reference starts afresh."""
    found: dict[Watched, dict[str, State]] = {key: {} for key in of}
    keys = {
        "versions": [key[0] for key in found],
        "references": [key[1] for key in found],
        "detectors": list(detectors),
    }
    for row in tx.execute(_STATES, keys) if found else ():
        found[row.version_id, row.reference_id][row.detector] = load_state(row.body)
    return found


_STATES: Final = sa.text(
    "SELECT version_id, reference_id, detector, body FROM process_states JOIN"
    " unnest(CAST(:versions AS int[]), CAST(:references AS bigint[]))"
    " AS wanted (version_id, reference_id) USING (version_id, reference_id)"
    " WHERE detector = ANY(:detectors)"
)


def put_states(tx: Connection, states: Mapping[Watched, Mapping[str, State]]) -> None:
    """Store the detectors' states after a window."""
    rows = [
        {"version_id": key[0], "reference_id": key[1], "detector": name, "body": dump_state(state)}
        for key, by_detector in states.items()
        for name, state in by_detector.items()
    ]
    if rows:
        tx.execute(_PUT_STATES, rows)


_STATE: Final = insert(process_states)
_PUT_STATES: Final = _STATE.on_conflict_do_update(
    index_elements=["version_id", "detector"],
    set_={
        "reference_id": _STATE.excluded.reference_id,
        "body": _STATE.excluded.body,
        "updated_at": sa.func.now(),
    },
).returning(process_states.c.version_id)  # so that it is one statement


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


def put_increments(tx: Connection, new: Mapping[Watched, Mapping[str, Increment]]) -> None:
    """Store one window's increments for onset and recovery (dropped after 7 days)."""
    rows = [
        stored(
            increments,
            increment,
            version_id=key[0],
            detector=detector,
            reference_id=key[1],
            body=pack({p.value: a for p, a in increment.by_process.items()}),
        )
        for key, by_detector in new.items()
        for detector, increment in by_detector.items()
    ]
    if rows:
        tx.execute(_PUT_INCREMENTS, rows)


_PUT_INCREMENTS: Final = (
    insert(increments).on_conflict_do_nothing().returning(increments.c.version_id)
)


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
