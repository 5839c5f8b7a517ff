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
_MOST_BYTES: Final = 256 << 20
"""Of all hashes that are held; those used longest ago are read again when they are needed."""


class TrainingTexts:
    """The hashes of training texts, by version: those of its reference in force.

    Requests of versions without training texts wait for nothing but the first listing.
    """

    def __init__(self, database: Database, *, key: bytes) -> None:
        self._database = database
        self._key = key
        self._listing = threading.Lock()
        self._loading = threading.Lock()
        self._in_force: Mapping[VersionId, ReferenceId] = {}
        self._read_at = float("-inf")
        self._known: dict[ReferenceId, TrainingShingles] = {}

    def of(self, version_id: VersionId | None) -> TrainingShingles | None:
        """Return a version's; None where its reference has no training texts."""
        if version_id is None:
            return None
        self._look()
        reference_id = self._in_force.get(version_id)
        if reference_id is None:
            return None
        return self._known.get(reference_id) or self._load(reference_id)

    def _look(self) -> None:
        """Ask which references are in force; one asks, and the others go by the last answer."""
        if time.monotonic() - self._read_at <= _FRESH_FOR:
            return
        if not self._listing.acquire(blocking=self._read_at == float("-inf")):
            return
        try:
            if time.monotonic() - self._read_at > _FRESH_FOR:
                self._in_force = self._database.run(reference_vectors.with_shingles)
                self._read_at = time.monotonic()
        finally:
            self._listing.release()

    def _load(self, reference_id: ReferenceId) -> TrainingShingles:
        with self._loading:
            found = self._known.get(reference_id)
            if found is None:
                parts = self._database.run(lambda tx: reference_vectors.shingles(tx, reference_id))
                found = TrainingShingles(parts, key=self._key)
                kept, left = {reference_id: found}, _MOST_BYTES - 8 * len(found)
                for one, said in reversed(self._known.items()):  # the latest first
                    left -= 8 * len(said)
                    if left >= 0:
                        kept[one] = said
                self._known = dict(reversed(kept.items()))
            return found
