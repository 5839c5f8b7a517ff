"""Decide by a hash of its id whether a record is kept, alike in all replicas and gateways."""

from __future__ import annotations

import hashlib
from typing import Final

from monitor.domain import ArmKind

ALWAYS_KEPT: Final = frozenset({ArmKind.CANARY, ArmKind.SHADOW})
"""Arms with little traffic on trial, all of which is needed."""

_FULL: Final = 2**64


def keep(adapter: str, record_id: str, probability: float, *, stage: str = "ingest") -> bool:
    """True if a record with this id is kept at this probability; the same everywhere.

    The gateway uses the same hash and the share that the service gives it, so it sends exactly the
    records that would be kept here. A sampler with its own rate must use another ``stage``, or
    every record that passed the first would pass the second too.
    """
    if probability >= 1.0:
        return True
    name = f"{stage}\0{adapter}\0{record_id}".encode("utf-8", "surrogatepass")
    fate = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
    return fate < probability * _FULL
