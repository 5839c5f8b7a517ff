"""Keep training indexes as memory-mapped files, restored from Postgres if missing."""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.axes import Axes, load_axes
from monitor.domain import ReferenceId
from monitor.store.database import Database
from monitor.store.references import reference_axes, reference_vectors

Index = npt.NDArray[np.float16]

_MAGIC: Final = b"DLINDEX1"
_HEADER: Final = struct.Struct("<8s32sQI12x")
_OPEN: Final = 64
"""The most indexes kept mapped; a mapping costs address space, the kernel owns its pages."""


class IndexMissing(LookupError):  # noqa: N818 - it is a fact about the reference
    """The reference has no training index."""


class Indexes:
    """Opens training indexes ``(n, d)``, float16, unit vectors.

    Files are a cache: written whole under a temporary name and then moved, checked against their
    own SHA-256 and the database's row count before use, and rewritten if they do not match. Any
    number of daemons may share the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._open: OrderedDict[ReferenceId, Index] = OrderedDict()
        self._axes: OrderedDict[ReferenceId, Axes | None] = OrderedDict()
        self._answers: OrderedDict[ReferenceId, tuple[str, bytes] | None] = OrderedDict()

    def path(self, reference_id: ReferenceId) -> Path:
        """Return the path of a reference's index."""
        return self._folder / f"{reference_id}.index"

    def open(self, database: Database, reference_id: ReferenceId) -> Index:
        """Map an index; raises IndexMissing if the reference has none."""
        with self._lock:
            known = self._open.get(reference_id)
            if known is not None:
                self._open.move_to_end(reference_id)
                return known
            self._open[reference_id] = index = self._load(database, reference_id)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
            return index

    def axes(self, database: Database, reference_id: ReferenceId) -> Axes | None:
        """Read a ready reference's axes; None if it was built without."""
        dimension = self.open(database, reference_id).shape[1]
        with self._lock:
            if reference_id in self._axes:
                self._axes.move_to_end(reference_id)
                return self._axes[reference_id]
        body = database.run(lambda tx: reference_axes.read(tx, reference_id))
        axes = None if body is None else load_axes(body, dimension=dimension)
        with self._lock:
            self._axes[reference_id] = axes
            while len(self._axes) > _OPEN:
                self._axes.popitem(last=False)
        return axes

    def answers(self, database: Database, reference_id: ReferenceId) -> tuple[str, bytes] | None:
        """Read encoder and axes of a ready reference's answers; None if built without."""
        with self._lock:
            if reference_id in self._answers:
                self._answers.move_to_end(reference_id)
                return self._answers[reference_id]
        found = database.run(lambda tx: reference_axes.read_answers(tx, reference_id))
        with self._lock:
            self._answers[reference_id] = found
            while len(self._answers) > _OPEN:
                self._answers.popitem(last=False)
        return found

    def checksum(self, reference_id: ReferenceId) -> str:
        """Return the SHA-256 of an opened index's vectors."""
        with self.path(reference_id).open("rb") as file:
            _, digest, _, _ = _HEADER.unpack(file.read(_HEADER.size))
        return bytes(digest).hex()

    def forget(self, reference_id: ReferenceId) -> None:
        """Remove an index that is no longer needed, or incomplete."""
        with self._lock:
            self._open.pop(reference_id, None)
            self.path(reference_id).unlink(missing_ok=True)

    def _load(self, database: Database, reference_id: ReferenceId) -> Index:
        rows, _ = database.run(lambda tx: reference_vectors.count(tx, reference_id))
        if rows == 0:
            raise IndexMissing(f"reference {reference_id} has no training index")
        wanted = database.run(lambda tx: reference_vectors.checksum(tx, reference_id))
        mapped = map_file(self.path(reference_id), rows=rows, wanted=wanted)
        if mapped is not None:
            return mapped
        self._write(database, reference_id)
        mapped = map_file(self.path(reference_id), rows=rows, wanted=wanted)
        if mapped is None:
            raise OSError(f"{self.path(reference_id)} was written and cannot be read back")
        return mapped

    def _write(self, database: Database, reference_id: ReferenceId) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        final = self.path(reference_id)
        unfinished = final.with_suffix(f".{os.getpid()}-{secrets.token_hex(4)}")
        try:
            _copy(database, reference_id, unfinished)
            unfinished.replace(final)
        finally:
            unfinished.unlink(missing_ok=True)


def _copy(database: Database, reference_id: ReferenceId, path: Path) -> None:
    """Copy chunk by chunk, since an index need not fit in memory."""
    total, rows, dimension, number = hashlib.sha256(), 0, 0, 0
    with path.open("wb") as file:
        file.write(bytes(_HEADER.size))
        while True:
            chunk = database.run(
                lambda tx, number=number: reference_vectors.read(tx, reference_id, chunk=number)  # type: ignore[misc]  # a default argument
            )
            if chunk is None:
                break
            file.write(chunk.vectors)
            total.update(chunk.vectors)
            rows, dimension, number = rows + chunk.count, chunk.dimension, number + 1
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, total.digest(), rows, dimension))
        file.flush()
        os.fsync(file.fileno())


def map_file(path: Path, *, rows: int, wanted: bytes | None) -> Index | None:
    """Map a file if it is complete and the expected one, else return None."""
    try:
        with path.open("rb") as file:
            magic, digest, stored, dimension = _HEADER.unpack(file.read(_HEADER.size))
            fits = magic == _MAGIC and stored == rows and wanted in (None, digest)
            if not fits or hashlib.file_digest(file, "sha256").digest() != digest:
                return None
    except (OSError, struct.error):
        return None
    return np.memmap(path, dtype="<f2", mode="r", offset=_HEADER.size, shape=(stored, dimension))
