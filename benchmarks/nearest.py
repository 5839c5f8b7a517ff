"""The nearest of 100,000 examples for 1,000 queries of 384 numbers.

Runs in the peers' environment, so that faiss is raced in the same process.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss  # type: ignore[import-not-found]  # only in the environment of peers.txt
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.row import Figure, Goal, Row, at_least, at_most
from benchmarks.timing import interleaved
from monitor.probes.search import nearest

SEED = 5
EXAMPLES, QUERIES, NUMBERS = 100_000, 1_000, 384
BF16_ROWS = 4_096
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """Unit vectors; ``stored`` is what the service maps: float16, read from its file."""

    examples: Vectors
    queries: Vectors
    stored: npt.NDArray[np.float16]


def run() -> Sequence[Row]:
    """Race our blocked search with the whole product and faiss, one thread each."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder:
        return [_race(_search(Path(folder) / "index.npy"))]


def _race(search: Search) -> Row:
    flat = faiss.IndexFlatIP(NUMBERS)
    flat.add(search.examples)
    spent = interleaved(
        {
            "ours": lambda: nearest(search.stored, search.queries),
            "whole": lambda: _whole(search),
            "faiss": lambda: flat.search(search.queries, 1),
            "bf16": _bf16(search),
        },
        rounds=5,
    )
    error = np.abs(nearest(search.stored, search.queries).similarity - _whole(search)).max()
    return Row(
        number=5,
        metric="nearest example, 1,000 queries × 100k × 384",
        ours=_seconds("monitor.probes.search, float16 memory map", spent["ours"]),
        goals=(
            _times("the whole product", spent["whole"] / spent["ours"], floor=3.0),
            _times("faiss Flat", spent["faiss"] / spent["ours"], floor=1.7),
            at_most(
                "64 MB temporary",
                value=_peak(lambda: nearest(search.stored, search.queries)),
                ceiling=64.0,
                unit="MB",
            ),
        ),
        peers=(
            _seconds("whole-matrix product", spent["whole"]),
            _seconds(f"faiss {faiss.__version__} Flat", spent["faiss"]),
        ),
        limit=_seconds("bf16 blocks, similarity only", spent["bf16"]),
        note=f"one thread each. The whole product takes {_peak(lambda: _whole(search)):.0f} MB."
        " Torch's own memory is not in the peak: it is 4 MB a block."
        f" Ours is exact up to float16 storage: largest difference of a cosine {error:.1e}.",
    )


def _search(path: Path) -> Search:
    rng = np.random.default_rng(SEED)
    examples = _unit(rng.normal(size=(EXAMPLES, NUMBERS)))
    near = examples[rng.choice(EXAMPLES, QUERIES)]
    queries = _unit(near + rng.normal(scale=0.05, size=near.shape))
    np.save(path, examples.astype(np.float16))
    stored = np.load(path, mmap_mode="r")
    return Search(examples=examples, queries=queries, stored=stored)


def _unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _whole(search: Search) -> Vectors:
    product = search.queries @ search.examples.T
    found: Vectors = product[np.arange(QUERIES), product.argmax(axis=1)]
    return found


def _bf16(search: Search) -> Callable[[], object]:
    blocks = torch.split(torch.from_numpy(search.examples).bfloat16(), BF16_ROWS)
    queries = torch.from_numpy(search.queries).bfloat16()
    return lambda: [(queries @ block.T).amax(dim=1) for block in blocks]


def _peak(case: Callable[[], object]) -> float:
    tracemalloc.start()
    case()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak


def _seconds(what: str, seconds: float) -> Figure:
    return Figure(what=what, value=seconds, unit="s CPU")


def _times(peer: str, ratio: float, *, floor: float) -> Goal:
    return at_least(f"{floor:g} × {peer}", value=ratio, floor=floor, unit="×")
