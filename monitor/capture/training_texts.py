"""Find the training texts that a version's answers are compared with."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from monitor.capture.shingles import TrainingShingles
from monitor.domain import ReferenceId, VersionId
from monitor.store.database import Database
from monitor.store.references import reference_vectors

_FRESH_FOR: Final = 30.0
"""Seconds after which it is asked which references are in force."""


class TrainingTexts:
    """The hashes of training texts, by version: those of its reference in force."""

    def __init__(self, database: Database, *, key: bytes) -> None:
        self._database = database
        self._key = key
        self._lock = threading.Lock()
        self._in_force: Mapping[VersionId, ReferenceId] = {}
        self._read_at = float("-inf")
        self._known: dict[ReferenceId, TrainingShingles] = {}

    def of(self, version_id: VersionId | None) -> TrainingShingles | None:
        """Return a version's; None where its reference has no training texts."""
        with self._lock:
            if time.monotonic() - self._read_at > _FRESH_FOR:
                self._in_force = self._database.run(reference_vectors.with_shingles)
                self._read_at = time.monotonic()
                current = set(self._in_force.values())
                self._known = {one: said for one, said in self._known.items() if one in current}
            reference_id = self._in_force.get(version_id) if version_id is not None else None
            if reference_id is None:
                return None
            known = self._known.get(reference_id)
            if known is None:
                parts = self._database.run(lambda tx: reference_vectors.shingles(tx, reference_id))
                known = self._known[reference_id] = TrainingShingles(parts, key=self._key)
            return known
