"""Compare a baseline with a training index that must not contain it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.nearest import Nearest, nearest
from detectors.types import Floats
from monitor.reference.baseline import Baseline
from monitor.reference.errors import Unbuildable

SAME_TEXT: Final = 0.999
"""Cosine from which two embeddings count as one text: the same text in other batches stays
above .9995 in bfloat16."""
_ROWS: Final = 2048

Search = Callable[[npt.NDArray[np.float16], npt.NDArray[np.float32]], Nearest]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Halves:
    """Rows of a baseline: those for the index, and those held out from it."""

    early: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.int64]


def split(baseline: Baseline, usable: npt.NDArray[np.int64], *, least: int = 0) -> Halves:
    """Split the embedded rows by time; no subject of the early half is held out.

    The early half shrinks, down to nothing, until ``least`` rows are held out.
    """
    middle = usable.size // 2
    while True:
        halves = _split_at(middle, baseline, usable)
        if middle == 0 or halves.held_out.size >= least:
            return halves
        middle //= 2


def _split_at(middle: int, baseline: Baseline, usable: npt.NDArray[np.int64]) -> Halves:
    early, late = usable[:middle], usable[middle:]
    if baseline.subjects is not None:
        known = baseline.subjects[early]
        late = late[~np.isin(baseline.subjects[late], known[known >= 0])]
    return Halves(early=early, held_out=late)


def stack(vectors: Sequence[bytes | None], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
    """Stack some rows' vectors into an array ``(n, d)``; raises Unbuildable on mixed lengths."""
    chosen = [vectors[row] or b"" for row in rows.tolist()]
    lengths = sorted({len(vector) // 2 for vector in chosen})
    if len(lengths) > 1:
        raise Unbuildable(f"embeddings by one encoder have {lengths} numbers")
    return np.frombuffer(b"".join(chosen), dtype="<f2").reshape(rows.size, -1)


def similarities(
    index: npt.NDArray[np.float16], vectors: npt.NDArray[np.float16], *, search: Search = nearest
) -> Iterator[Floats]:
    """Yield the cosine of each vector to its nearest example, block by block."""
    for begin in range(0, len(vectors), _ROWS):
        block = vectors[begin : begin + _ROWS].astype(np.float32)
        yield search(index, block).similarity.astype(np.float64)


def column(
    length: int, rows: npt.NDArray[np.int64], found: Floats, *, drop_same_texts: bool
) -> tuple[Floats, int]:
    """Lay out similarities for all records, NaN elsewhere; count the texts left out.

    With ``drop_same_texts`` a record whose exact text is in the index is not measured: compared
    with itself it would score 1, whatever the traffic.
    """
    same = found >= SAME_TEXT if drop_same_texts else np.zeros(found.size, dtype=bool)
    laid = np.full(length, np.nan)
    # float4, as in the store: ties between baseline and live values must stay ties
    laid[rows] = np.where(same, np.nan, found.astype(np.float32))
    return laid, int(same.sum())
