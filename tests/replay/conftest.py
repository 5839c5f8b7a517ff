"""Logs made here: a steady adapter, and what may happen to it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

_TALK = "the card my order is late where can i pay refund invoice account number today"
WORDS = tuple(_TALK.split())


class BagOfWords:
    """An encoder of 512 numbers without a model: texts that share words are near."""

    encoder = "words@1/float32"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in [*text.lower().split(), "."]:
                place = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                vectors[row, place % 512] += 1.0
        # as the worker sends them: float16 precision
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit.astype(np.float16).astype(np.float32)


class Talk:
    """Records of one adapter, one after the other; the same seed writes the same log."""

    def __init__(self, *, seed: int = 1, **fields: Any) -> None:
        self._rng = np.random.default_rng(seed)
        self._fields = fields
        self._count = 0
        self._seed = seed

    def records(
        self, count: int, *, begin: datetime, over: timedelta, shift: float = 0.0, **changes: Any
    ) -> list[dict[str, Any]]:
        """Records spread at random over a time; ``shift`` is in sd of the mean NLL."""
        places = np.sort(self._rng.uniform(0.0, over.total_seconds(), count))
        return [self._one(begin + timedelta(seconds=float(s)), shift) | changes for s in places]

    def _one(self, at: datetime, shift: float) -> dict[str, Any]:
        self._count += 1
        mean = max(0.01, float(self._rng.gamma(4.0, 0.1)) + shift * 0.2)
        nll = self._rng.exponential(mean, 24).round(4)
        said = self._rng.choice(WORDS, 8)
        return {
            "id": f"{self._seed}-{self._count}",
            "at": at.isoformat(),
            "prompt": " ".join(self._rng.choice(WORDS, 6)),
            "output": " ".join(said),
            "token_logprobs": (-nll).tolist(),
            "top_logprobs": [[-x, -x - 1.0, -x - 2.0] for x in nll.tolist()],
            "subject": f"user {self._rng.integers(60)}",
            "output_tokens": 24,
            "status": 200,
            **self._fields,
        }


Write = Callable[[str, Sequence[object]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines of JSON into a file."""

    def to(name: str, lines: Sequence[object]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return to
