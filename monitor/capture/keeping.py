"""Whether a record is kept: a hash of its id, so that every replica and gateway decides alike."""

from __future__ import annotations

import hashlib
from typing import Final

from monitor.domain import ArmKind

ALWAYS_KEPT: Final = frozenset({ArmKind.CANARY, ArmKind.SHADOW})
"""Arms on trial see little traffic and need all of it."""

_FULL: Final = 2**64


def keep(adapter: str, record_id: str, probability: float, *, stage: str = "ingest") -> bool:
    """Whether a record with this id is kept at this probability; the same everywhere.

    The gateway decides with the same hash and the share that the service gives it, so what it
    sends is what would be kept here. A sampler with a rate of its own must use another
    ``stage``, or whatever passed the first would pass the second too.
    """
    if probability >= 1.0:
        return True
    name = f"{stage}\0{adapter}\0{record_id}".encode("utf-8", "surrogatepass")
    fate = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
    return fate < probability * _FULL
