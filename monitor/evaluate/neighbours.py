"""The training examples that are nearest to vectors, and to single requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from monitor.domain import ReferenceId, Version
from monitor.store.records.requests import RequestRow
from monitor.store.references import reference_vectors, references


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A training example: its place in the index, from 1, and its cosine to a centre.

    An uploaded index keeps the order of its training lines. ``text`` is the beginning of its
    redacted text; None where no text is kept.
    """

    row: int
    similarity: float
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBeside:
    """A request, and its nearest training example where both are known."""

    request: RequestRow
    nearest: Neighbour | None


def nearest_training(
    tx: Connection, reference_id: ReferenceId, vectors: npt.NDArray[np.float32], *, most: int
) -> list[tuple[Neighbour, ...]]:
    """Return each unit vector's nearest training examples; the index is read once."""
    similarity = np.full((len(vectors), most), -np.inf, dtype=np.float32)
    place = np.zeros((len(vectors), most), dtype=np.int64)
    number = begin = 0
    while (chunk := reference_vectors.read(tx, reference_id, chunk=number)) is not None:
        examples = np.frombuffer(chunk.vectors, dtype="<f2").reshape(chunk.count, -1)
        cosine = np.hstack([similarity, vectors @ examples.astype(np.float32).T])
        places = np.hstack(
            [place, np.tile(np.arange(begin, begin + chunk.count), (len(vectors), 1))]
        )
        best = np.argsort(-cosine, axis=1, kind="stable")[:, :most]
        similarity = np.take_along_axis(cosine, best, axis=1)
        place = np.take_along_axis(places, best, axis=1)
        number, begin = number + 1, begin + chunk.count
    texts = reference_vectors.texts(tx, reference_id, {int(one) for one in place.ravel()})
    return [
        tuple(
            Neighbour(row=int(row) + 1, similarity=float(cosine), text=texts.get(int(row)) or None)
            for row, cosine in zip(place[each], similarity[each], strict=True)
            if np.isfinite(cosine)
        )
        for each in range(len(vectors))
    ]


def beside_training(
    tx: Connection, rows: Sequence[RequestRow], of: Iterable[Version]
) -> list[RequestBeside]:
    """Put requests beside their nearest training examples, in the references in force.

    A request of another reference, or without an embedding, stands alone. Each index is read once.
    """
    found: dict[tuple[datetime, str], Neighbour] = {}
    for version in of:
        reference = references.current(tx, version.id)
        if reference is not None:
            found |= _nearest(tx, reference.id, rows)
    return [RequestBeside(request=row, nearest=found.get((row.at, row.id))) for row in rows]


def _nearest(
    tx: Connection, reference_id: ReferenceId, rows: Sequence[RequestRow]
) -> Mapping[tuple[datetime, str], Neighbour]:
    compared = [row for row in rows if row.vector and row.reference_id == reference_id]
    if not compared:
        return {}
    vectors = [np.frombuffer(row.vector or b"", dtype="<f2").astype(np.float32) for row in compared]
    near = nearest_training(tx, reference_id, np.stack(vectors), most=1)
    return {(row.at, row.id): of[0] for row, of in zip(compared, near, strict=True) if of}
