"""Requests of all kinds in a real database: like and unlike training, failed, long, slow."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Connection

from detectors.signals import TOPICS
from detectors.types import Window
from monitor.domain import Version
from monitor.reference import kept
from monitor.store import partitions
from monitor.store.partitions import RECORD_TABLES
from monitor.store.records import contexts, ingest
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import RecordBatch
from monitor.store.references import calibrations, reference_baselines, references
from monitor.store.references.calibrations import Calibration
from monitor.store.tables.records import record_embeddings, record_texts, terms
from monitor.store.tables.references import reference_vectors
from tests import newcomers

COUNT = 60
EVERY = timedelta(minutes=3)
KNOWN = ("How do I reset the password of my account?", "Where is my invoice for October?")
NEW = "My thermostat shows E4 and the door sensor is offline since the update."
SAID = "\n".join(f"{step}. Hold the reset key for {step} seconds." for step in range(1, 21))
LIKE, ODD = np.zeros(8), np.zeros(8)
LIKE[:2], ODD[:2] = (0.8, 0.6), (0.28, 0.96)  # cosines to the training's axis
INDEXED = (0, 2)
"""Axes along which the texts of the training index lie."""
OTHER = b"another!"
"""The term of requests that are like training."""
_GIVEN = Context("push", "", "", "", "")


def arrive(tx: Connection, version: Version, *, now: datetime, count: int = COUNT) -> list[str]:
    """Let requests come, the last a moment ago; give their ids, the newest first.

    Every fifth is unlike training, every twelfth failed with 503 and has neither tokens nor NLL.
    The values of the others repeat, so that many are equal.
    """
    places = np.arange(count)
    failed, far = places % 12 == 11, places % 5 == 4
    numbers = {
        "mean_nll": np.where(failed, np.nan, 0.25 + 0.25 * (places % 4)),
        "output_tokens": np.where(failed, np.nan, 40.0 + 30 * (places % 6)),
        "prompt_tokens": 12.0 + places % 7,
        "latency_ms": np.where(failed, 30_000.0, 400.0 + 100 * (places % 8)),
        "status": np.where(failed, 503.0, 200.0),
    }
    ids = [f"req-{place:04}" for place in places]
    times = [now - timedelta(seconds=30) - EVERY * int(place) for place in places]
    finish = ["" if one else "stop" for one in failed.tolist()]
    put(tx, version, ids, times, numbers, finish=finish)
    answers = [None if one else "Open the settings, then Security." for one in failed.tolist()]
    compare(
        tx, version, ids, times,
        near=[ODD if odd else LIKE for odd in far.tolist()],
        texts=[
            (NEW if odd else KNOWN[0], SAID if odd and said else said)
            for odd, said in zip(far.tolist(), answers, strict=True)
        ],
        words=("thermostat", "door sensor"),
    )  # fmt: skip
    return ids


def compare(
    tx: Connection,
    version: Version,
    ids: list[str],
    times: list[datetime],
    *,
    near: Sequence[np.ndarray],
    texts: Sequence[tuple[str, str | None]],
    words: Sequence[str],
) -> None:
    """Embed requests, keep their texts, and learn a reference to compare them with.

    Those near ``ODD`` use the ``words``.
    """
    reference = _indexed(tx, version)
    rng = np.random.default_rng(5)
    hashes = [word.encode().ljust(8)[:8] for word in words]
    known = [{"term": one, "word": word} for one, word in zip(hashes, words, strict=True)]
    common = {"adapter_id": version.adapter_id, "subjects": [], "seen_at": times[0]}
    tx.execute(terms.insert(), [common | one for one in known])
    for name, at, vector, (prompt, output) in zip(ids, times, near, texts, strict=True):
        key = {"adapter_id": version.adapter_id, "at": at, "id": name}
        close = vector.astype("<f2")
        similarity = float(max(close[list(INDEXED)]))
        axes = rng.normal(3.0 if similarity < 0.5 else 0.0, 1.0, len(TOPICS)).astype("<f4")
        tx.execute(
            record_embeddings.insert().values(
                **key, encoder="tiny", embedding=close.tobytes(),
                reference_id=reference, similarity=similarity,
                coordinates=axes.tobytes(), terms=b"".join(hashes) if vector is ODD else OTHER,
            )
        )  # fmt: skip
        tx.execute(record_texts.insert().values(**key, prompt=prompt, output=output))


def put(
    tx: Connection,
    version: Version,
    ids: list[str],
    times: list[datetime],
    numbers: dict[str, np.ndarray] | None = None,
    *,
    finish: Sequence[str] = (),
    subjects: Sequence[bytes] = (),
) -> None:
    """Store records without texts or embeddings."""
    partitions.ensure(tx, {at.date() for at in times}, tables=RECORD_TABLES)
    count = len(ids)
    known = {name: np.full(count, np.nan) for name in ingest.NUMBERS} | {
        "version_id": np.full(count, float(version.id)),
        "context_id": np.full(count, float(contexts.intern(tx, [_GIVEN])[_GIVEN])),
        "sample_prob": np.ones(count),
        **(numbers or {}),
    }
    batch = RecordBatch(
        adapter_id=np.full(count, version.adapter_id, dtype=np.int64),
        at=np.array([ingest.microseconds(at) for at in times]),
        id=ids,
        numbers=known,
        finish_reason=[one or None for one in finish] or ["stop"] * count,
        subject=list(subjects) or [None] * count,
    )
    ingest.insert(tx, batch)


def _indexed(tx: Connection, version: Version) -> int:
    """Give the version's reference a training index with texts, and a baseline of all numbers."""
    reference = references.current(tx, version.id)
    assert reference is not None
    tx.execute(
        reference_vectors.insert().values(
            reference_id=reference.id, chunk=0, count=2, dimension=8,
            vectors=np.eye(8, dtype="<f2")[list(INDEXED)].tobytes(), texts=list(KNOWN),
        )
    )  # fmt: skip
    rng = np.random.default_rng(6)
    at = np.sort(rng.uniform(0.0, 14 * 86_400.0, 300))
    signals = {name: rng.normal(size=at.size) for name in TOPICS}
    signals["similarity"] = rng.uniform(0.7, 0.95, at.size)
    signals |= {"mean_nll": rng.gamma(4.0, 0.1, at.size), "entropy": rng.gamma(4.0, 0.2, at.size)}
    body = kept.pack(Window(start=0.0, end=at[-1] + 1, at=at, signals=signals))
    reference_baselines.insert(tx, reference.id, version_id=version.id, body=body)
    calibrated = {"input_similarity": Calibration(body=newcomers.calibration())}
    calibrations.insert(tx, reference.id, calibrations=calibrated, bins={})
    return reference.id
