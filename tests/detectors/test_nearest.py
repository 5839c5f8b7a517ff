from pathlib import Path

import numpy as np
import pytest

from detectors.nearest import BLOCK_ROWS, nearest


def unit_vectors(rng: np.random.Generator, n: int, width: int = 32) -> np.ndarray:
    vectors = rng.normal(size=(n, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_blocks_find_what_the_whole_product_finds(rng: np.random.Generator) -> None:
    index, queries = unit_vectors(rng, 2 * BLOCK_ROWS + 17), unit_vectors(rng, 100)
    found = nearest(index, queries)
    whole = queries @ index.T
    assert found.similarity == pytest.approx(whole.max(axis=1), abs=1e-6)
    assert np.array_equal(found.row, whole.argmax(axis=1))


def test_a_memory_mapped_half_precision_index_moves_no_cosine(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    vectors, queries = unit_vectors(rng, 5_000), unit_vectors(rng, 50)
    np.save(tmp_path / "index.npy", vectors.astype(np.float16))
    found = nearest(np.load(tmp_path / "index.npy", mmap_mode="r"), queries)
    assert found.similarity == pytest.approx((queries @ vectors.T).max(axis=1), abs=5e-4)


def test_an_example_is_nearest_to_itself_and_the_first_of_equals_wins(
    rng: np.random.Generator,
) -> None:
    vectors = unit_vectors(rng, BLOCK_ROWS)
    found = nearest(np.vstack([vectors, vectors]), vectors[:9])
    assert found.row.tolist() == list(range(9))
    assert found.similarity == pytest.approx(1.0, abs=1e-6)
    assert (found.similarity <= 1.0).all()


def test_no_queries_find_nothing(rng: np.random.Generator) -> None:
    assert nearest(unit_vectors(rng, 3), np.zeros((0, 32), dtype=np.float32)).row.size == 0
