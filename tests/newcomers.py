"""Requests in a real database that are near each other and far from training."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

import numpy as np
from sqlalchemy import Connection

from detectors import DETECTORS
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

NEW, KNOWN = 6, 20
TERM = b"a  term!"
_NEAR_TRAINING, _FAR = np.eye(8, dtype="<f2")[:2]


@cache
def calibration() -> bytes:
    """Of a baseline whose similarities lie between .7 and .9."""
    at = np.linspace(0.0, 14 * 86_400.0, 400)
    similarity = 0.8 + 0.1 * np.sin(np.arange(400.0))
    window = Window(start=0.0, end=at[-1] + 1, at=at, signals={"similarity": similarity})
    detector = DETECTORS["input_similarity"]
    return detector.dump(detector.fit(window))


def arrive(tx: Connection, version: Version, *, now: datetime, text: str) -> None:
    """Let six subjects send new requests, and twenty known ones, in the last quarter hour.

    ``text`` is the new requests' id (with a number), their prompt and the word all of them
    hold. The version's reference must be ready.
    """
    reference = references.current(tx, version.id)
    assert reference is not None
    calibrated = {"input_similarity": Calibration(body=calibration())}
    calibrations.insert(tx, reference.id, calibrations=calibrated, bins={})
    tx.execute(
        reference_vectors.insert().values(
            reference_id=reference.id, chunk=0, count=1, dimension=8,
            vectors=_NEAR_TRAINING.tobytes(),
        )
    )  # fmt: skip
    ids = [f"{number} {text}"[:128] for number in range(NEW + KNOWN)]
    times = [now - timedelta(minutes=15) + timedelta(seconds=n) for n in range(NEW + KNOWN)]
    partitions.ensure(tx, {at.date() for at in times}, tables=RECORD_TABLES)
    _records(tx, version, ids, times)
    keys = [
        {"adapter_id": version.adapter_id, "at": at, "id": name}
        for name, at in zip(ids, times, strict=True)
    ]
    embedded = [
        {
            "encoder": "tiny",
            "embedding": (_FAR if place < NEW else _NEAR_TRAINING).tobytes(),
            "reference_id": reference.id,
            "similarity": 0.1 if place < NEW else 0.85,
            "terms": TERM if place < NEW else b"another!",
        }
        for place in range(NEW + KNOWN)
    ]
    rows = [key | more for key, more in zip(keys, embedded, strict=True)]
    tx.execute(record_embeddings.insert(), rows)
    tx.execute(record_texts.insert(), [key | {"prompt": text} for key in keys[:NEW]])
    word = {"term": TERM, "subjects": [], "word": text, "seen_at": now}
    tx.execute(terms.insert().values(adapter_id=version.adapter_id, **word))


def _records(
    tx: Connection,
    version: Version,
    ids: list[str],
    times: list[datetime],
    measured: Mapping[str, np.ndarray] | None = None,
) -> None:
    given = Context("push", "", "", "", "")
    count = len(ids)
    numbers = {name: np.full(count, np.nan) for name in ingest.NUMBERS} | {
        "version_id": np.full(count, float(version.id)),
        "context_id": np.full(count, float(contexts.intern(tx, [given])[given])),
        "sample_prob": np.ones(count),
        **(measured or {}),
    }
    ingest.insert(
        tx,
        RecordBatch(
            adapter_id=np.full(count, version.adapter_id, dtype=np.int64),
            at=np.array([ingest.microseconds(at) for at in times]),
            id=ids,
            numbers=numbers,
            finish_reason=["stop"] * count,
            subject=[b"subj%04d" % number for number in range(count)],
        ),
    )


def measure(tx: Connection, version: Version, *, now: datetime, shift: float) -> None:
    """Keep a baseline of 2,000 requests, and let 200 new ones be less certain by ``shift``."""
    reference = references.current(tx, version.id)
    assert reference is not None
    rng = np.random.default_rng(7)
    before = np.sort(rng.uniform(0.0, 14 * 86_400.0, 2_000))
    signals = {"mean_nll": rng.gamma(4.0, 0.1, before.size), "empty": np.zeros(before.size)}
    baseline = Window(start=0.0, end=before[-1] + 1, at=before, signals=signals)
    body = kept.pack(baseline)
    reference_baselines.insert(tx, reference.id, version_id=version.id, body=body)
    times = [now - timedelta(seconds=15 * number) for number in range(1, 201)]
    partitions.ensure(tx, {at.date() for at in times}, tables=RECORD_TABLES)
    numbers = {
        "mean_nll": rng.gamma(4.0, 0.1, len(times)) + shift,
        "n_tokens": np.full(len(times), 40.0),
        "missing": np.zeros(len(times)),
        "empty": np.zeros(len(times)),
    }
    ids = [f"measured-{number}" for number in range(len(times))]
    _records(tx, version, ids, times, numbers)
