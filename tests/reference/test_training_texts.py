"""From training lines to the flag of a record whose answer repeats one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from detectors import DETECTORS
from monitor.capture.intake import Intake, Settings
from monitor.capture.queue import QueueBounds
from monitor.domain import Interval, Reference, Version
from monitor.reference.build import BuildSettings, build_next
from monitor.reference.index import Indexes
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.references import calibrations, reference_vectors
from tests.frozen import freeze
from tests.reference.conftest import (
    START,
    BagOfWords,
    Live,
    Send,
    baseline,
    ndjson,
    questions,
    training,
)

KEY = b"k" * 32
LEARNED = " ".join(f"word{n} of the secret recipe" for n in range(20))


def _learned(count: int = 50, **fields: Any) -> list[dict[str, object]]:
    return [line | fields for line in training(questions(count))]


Build = Callable[[], bool]


@pytest.fixture
def build(database: Database, words: BagOfWords, indexes: Indexes) -> Build:
    settings = BuildSettings(key=KEY)
    return lambda: build_next(database, words, indexes=indexes, settings=settings)


def _names(database: Database, made: Reference) -> str | None:
    stored = database.run(lambda tx: calibrations.read(tx, made.id))["training_text"]
    return stored.absent_reason if stored.body is None else None


def _flags(database: Database, version: Version, *outputs: str | None) -> list[bool | None]:
    """Take answers as clients' records, and read what was noted of each."""
    database.run(lambda tx: partitions.create_ahead(tx, now=datetime.now(UTC)))
    settings = Settings(embed_prompts=False, bounds=QueueBounds(linger=0.0))
    intake = Intake(database, subject_key=KEY, settings=settings)
    intake.start()
    records = [
        {"id": f"live-{n}", "adapter": version.adapter, "at": datetime.now(UTC).isoformat()}
        | ({} if output is None else {"output": output})
        for n, output in enumerate(outputs)
    ]
    intake.records(ndjson(records), content_type="application/x-ndjson")
    assert intake.close()
    query = sa.text("SELECT training_text FROM records WHERE id LIKE 'live-%' ORDER BY id")
    return list(database.run(lambda tx: tx.execute(query).scalars().all()))


def test_an_answer_that_repeats_a_completion_is_noted(
    database: Database, version: Version, build: Build, send: Send
) -> None:
    made = send([*_learned(completion=LEARNED), *baseline(questions(400, start=900))])
    assert build()

    assert _names(database, made) is None
    assert _flags(database, version, LEARNED, "a short answer", None) == [True, False, None]
    stored = database.run(lambda tx: reference_vectors.shingles(tx, made.id))
    assert all(b"secret" not in body for body in stored)


def test_a_line_without_a_completion_is_known_by_its_text(
    database: Database, version: Version, build: Build, send: Send
) -> None:
    lines = [*training([LEARNED]), *_learned()]
    send([*lines, *baseline(questions(400, start=900))])
    assert build()

    assert _flags(database, version, f"Here you are: {LEARNED}") == [True]


def test_the_baseline_is_held_against_the_same_texts(
    database: Database, build: Build, send: Send
) -> None:
    """An adapter that always answers with phrases of its training data does no harm by it."""
    lines = baseline(questions(400, start=900))
    repeating = [line | {"output": LEARNED} for line in lines[::2]]
    made = send([*_learned(completion=LEARNED), *lines[1::2], *repeating])
    assert build()

    stored = database.run(lambda tx: calibrations.read(tx, made.id))["training_text"]
    assert stored.body is not None
    detector = DETECTORS["training_text"]
    assert detector.load(stored.body).null.mean == pytest.approx([0.5])


@pytest.mark.parametrize(
    "lines", [_learned(), _learned(completion="short")], ids=["prompts alone", "short answers"]
)
def test_without_texts_to_repeat_the_detector_is_left_out_and_says_why(
    database: Database,
    version: Version,
    build: Build,
    send: Send,
    lines: list[dict[str, object]],
) -> None:
    made = send([*lines, *baseline(questions(400, start=900))])
    assert build()

    assert "training_text" in (_names(database, made) or "")
    assert _flags(database, version, LEARNED) == [None]


def test_a_frozen_reference_takes_the_training_texts_over(
    database: Database,
    version: Version,
    build: Build,
    send: Send,
    live: Live,
) -> None:
    send([*_learned(completion=LEARNED), *baseline(questions(400, start=900))])
    assert build()
    live(questions(400), start=START)
    window = Interval(start=START, end=datetime.now(UTC))
    freeze(database, version=version, window=window, cause="test", created_by="someone")
    assert build()

    assert _flags(database, version, LEARNED) == [True]


def test_a_completion_alone_is_no_training_line(send: Send) -> None:
    with pytest.raises(Exception, match="give text or embedding"):
        send([{"role": "training", "completion": LEARNED}])
