"""Make the training index of a reference that is being built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from monitor.capture import shingles
from monitor.capture.checks import Horizon
from monitor.domain import ReferenceId, Version
from monitor.probes.embedding import Embedder
from monitor.reference.errors import Unbuildable
from monitor.reference.lines import TrainingLine, read_line
from monitor.store.database import Database
from monitor.store.references import reference_items, reference_vectors, references
from monitor.store.references.reference_items import Item, ItemRole
from monitor.store.references.reference_vectors import VectorChunk
from monitor.store.references.references import ReferenceClaim

TEXTS_PER_CHUNK: Final = 512
ROWS_PER_CHUNK: Final = 4096
LONGEST_TEXT: Final = 600
"""Characters of a training text that are kept."""

Report = Callable[[int], None]
"""Called with the number of texts done; renews the lease."""


def from_items(
    database: Database,
    claim: ReferenceClaim,
    *,
    version: Version,
    embed: Embedder,
    horizon: Horizon,
    report: Report,
    key: bytes,
    keep_text: Callable[[str], str] | None = None,
) -> str | None:
    """Embed the staged training lines, resuming where the last builder stopped.

    Of what was learned, up to a million hashes of its words under the ``key`` are kept.
    ``keep_text`` redacts each text before its beginning is stored; None: no text is stored.
    Returns the encoder, or None if there are no training lines.
    """
    first = _next(database, claim, after=0, limit=1)
    if not first:
        return None
    encoder = _line(first[0], version, horizon).encoder or embed.encoder
    done, chunk = database.run(lambda tx: _standing(tx, claim, encoder))
    after = database.run(
        lambda tx: reference_items.last_used(tx, claim, role=ItemRole.TRAINING, used=done)
    )
    hashed = database.run(lambda tx: reference_vectors.count_shingles(tx, claim.reference_id))
    while items := _next(database, claim, after=after, limit=TEXTS_PER_CHUNK):
        lines = [_line(item, version, horizon) for item in items]
        rows = _vectors(lines, embed)
        left = 8 * max(0, shingles.MOST_HASHES - hashed)
        hashes = shingles.kept((line.learned or "" for line in lines), key=key)[:left]
        hashed += len(hashes) // 8
        made = VectorChunk(
            chunk=chunk,
            count=len(items),
            dimension=rows.shape[1],
            vectors=rows.tobytes(),
            texts=keep_text and [keep_text(line.text or "")[:LONGEST_TEXT] for line in lines],
            shingles=hashes or None,
        )
        database.run(lambda tx, made=made: reference_vectors.add(tx, claim, made))  # type: ignore[misc]  # a default argument
        after, chunk, done = items[-1].seq, chunk + 1, done + len(items)
        report(done)
    return encoder


def _standing(tx: Connection, claim: ReferenceClaim, encoder: str) -> tuple[int, int]:
    """Return the rows and chunks that an earlier builder made with the same encoder."""
    held = references.get(tx, claim.reference_id)
    if held is None or held.encoder != encoder:
        reference_vectors.clear(tx, claim)
        references.note_encoder(tx, claim, encoder=encoder)
    return reference_vectors.count(tx, claim.reference_id)


def copied(database: Database, claim: ReferenceClaim, *, source: ReferenceId) -> str:
    """Copy another reference's index; return its encoder."""
    held = database.run(lambda tx: references.get(tx, source))
    if held is None or held.encoder is None:
        raise Unbuildable(f"reference {source} has no training index to take over")

    def take_over(tx: Connection) -> None:
        reference_vectors.clear(tx, claim)  # an earlier builder may have appended to it
        reference_vectors.copy(tx, claim, source=source)

    database.run(take_over)
    return held.encoder


def append_rows(database: Database, claim: ReferenceClaim, rows: npt.NDArray[np.float16]) -> None:
    """Append the vectors ``(n, d)``, float16, to the index.

    Raises
    ------
    Unbuildable
        They have another length.
    """

    def append(tx: Connection) -> None:
        first = reference_vectors.read(tx, claim.reference_id, chunk=0)
        if first is not None and first.dimension != rows.shape[1]:
            raise Unbuildable(
                f"live embeddings have {rows.shape[1]} numbers,"
                f" the training index {first.dimension}"
            )
        _, behind = reference_vectors.count(tx, claim.reference_id)
        for chunk in _chunks(rows, first=behind):
            reference_vectors.add(tx, claim, chunk)

    database.run(append)


def from_rows(database: Database, claim: ReferenceClaim, rows: npt.NDArray[np.float16]) -> None:
    """Make an index of the vectors ``(n, d)``, float16, replacing any other."""

    def replace(tx: Connection) -> None:
        reference_vectors.clear(tx, claim)
        for chunk in _chunks(rows, first=0):
            reference_vectors.add(tx, claim, chunk)

    database.run(replace)


def _chunks(rows: npt.NDArray[np.float16], *, first: int) -> list[VectorChunk]:
    parts = [rows[begin : begin + ROWS_PER_CHUNK] for begin in range(0, len(rows), ROWS_PER_CHUNK)]
    return [
        VectorChunk(
            chunk=number,
            count=len(part),
            dimension=part.shape[1],
            vectors=np.ascontiguousarray(part, dtype="<f2").tobytes(),
        )
        for number, part in enumerate(parts, start=first)
    ]


def _next(database: Database, claim: ReferenceClaim, *, after: int, limit: int) -> list[Item]:
    return database.run(
        lambda tx: reference_items.read(tx, claim, role=ItemRole.TRAINING, after=after, limit=limit)
    )


def _line(item: Item, version: Version, horizon: Horizon) -> TrainingLine:
    line = read_line(item.body, adapter=version.adapter, version=version.name, horizon=horizon)
    if not isinstance(line, TrainingLine):
        raise TypeError(f"line {item.seq} was staged as training and is none")
    return line


def _vectors(lines: Sequence[TrainingLine], embed: Embedder) -> npt.NDArray[np.float16]:
    """Return the lines' vectors: the upload ensured that all have embeddings, or none."""
    if lines[0].encoder is None:
        return embed.embed([line.text or "" for line in lines]).astype("<f2")
    given = b"".join(line.vector or b"" for line in lines)
    return np.frombuffer(given, dtype="<f2").reshape(len(lines), -1)
