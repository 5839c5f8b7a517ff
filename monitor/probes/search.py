"""Find the nearest training example exactly, at bfloat16 speed. Loads torch: worker only.

Two passes over blocks of the index. The first multiplies in bfloat16 and keeps each
block's maximum per query. For unit vectors its error is at most
``2 * 2**-9 + 2**-18`` from rounding the factors (Cauchy-Schwarz) and ``2**-9`` from
rounding the result, together below :data:`ERROR`. So only blocks whose maximum comes within
``2 * ERROR`` of the best one can hold the nearest example, and the second pass multiplies
these alone, in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from detectors.nearest import Nearest
from detectors.nearest import nearest as in_float32

ERROR: Final = 0.006
_INDEX_ROWS: Final = 1024
_QUERY_ROWS: Final = 2048
"""A block of both is 4 MB of similarities."""


def nearest(index: npt.NDArray[np.float16], queries: npt.NDArray[np.float32]) -> Nearest:
    """Find each query's nearest example by cosine.

    Parameters
    ----------
    index
        Unit vectors ``(m, d)``, float16, ``m >= 1``; a memory map is read block by block.
    queries
        Unit vectors ``(q, d)``.

    Returns
    -------
    Nearest
        The same similarities as :func:`detectors.nearest.nearest`. Where the CPU multiplies
        float32 faster it is that function.
    """
    if not prefers_bfloat16():
        return in_float32(index, queries)
    parts = [
        _search(index, np.ascontiguousarray(queries[begin : begin + _QUERY_ROWS], dtype=np.float32))
        for begin in range(0, len(queries), _QUERY_ROWS)
    ]
    return Nearest(
        similarity=np.concatenate([np.empty(0, np.float32), *(p.similarity for p in parts)]),
        row=np.concatenate([np.empty(0, np.int64), *(p.row for p in parts)]),
    )


def has_bfloat16() -> bool:
    """True if the CPU multiplies bfloat16 in hardware."""
    has: bool = (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - torch has no public name for it
    )
    return has


def prefers_bfloat16() -> bool:
    """True if the CPU multiplies bfloat16 faster than float32.

    AMX is eight times as fast, and AMD's AVX-512 with bfloat16 is faster too. Intel's takes 1.8
    times as long as float32, and is there alone where a virtual machine hides AMX.
    """
    if torch.cpu._is_amx_tile_supported():  # noqa: SLF001 - as above
        return True
    return has_bfloat16() and "GenuineIntel" not in _cpu()


def _cpu() -> str:
    """Return what Linux says of the CPU; empty elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@torch.inference_mode()
def _search(index: npt.NDArray[np.float16], queries: npt.NDArray[np.float32]) -> Nearest:
    coarse = _block_maxima(index, torch.from_numpy(queries))
    possible = (coarse >= coarse.amax(0) - 2 * ERROR).numpy()
    similarity = np.full(len(queries), -np.inf, dtype=np.float32)
    row = np.zeros(len(queries), dtype=np.int64)
    for block, chosen in enumerate(possible):
        asking = np.flatnonzero(chosen)
        if asking.size == 0:
            continue
        begin = block * _INDEX_ROWS
        examples = np.asarray(index[begin : begin + _INDEX_ROWS], dtype=np.float32)
        product = queries[asking] @ examples.T
        best = product.argmax(axis=1)
        found = product[np.arange(asking.size), best]
        closer = found > similarity[asking]
        similarity[asking[closer]] = found[closer]
        row[asking[closer]] = begin + best[closer]
    return Nearest(similarity=np.clip(similarity, -1.0, 1.0), row=row)


def _block_maxima(index: npt.NDArray[np.float16], queries: torch.Tensor) -> torch.Tensor:
    """Return the largest bfloat16 cosine per block and query ``(blocks, q)``, float32."""
    columns = queries.to(torch.bfloat16).T.contiguous()
    maxima = []
    for begin in range(0, len(index), _INDEX_ROWS):
        # a copy, because torch wants writable memory
        block = torch.from_numpy(np.array(index[begin : begin + _INDEX_ROWS], dtype=np.float16))
        maxima.append((block.to(torch.bfloat16) @ columns).amax(0).float())
    return torch.stack(maxima)
