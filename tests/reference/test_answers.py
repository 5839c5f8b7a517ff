"""Answers are embedded beside the prompts, and placed along the axes of known answers."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from detectors.signals import ANSWERS, DISTANCE
from monitor.domain import Interval, ReferenceId, Version
from monitor.probes.errors import ModelMissing
from monitor.reference.build import BuildSettings, build_next
from monitor.reference.index import Indexes
from monitor.reference.live import TextFate, drain_embeddings
from monitor.store.database import Database
from monitor.store.records import records
from monitor.store.references import calibrations
from tests.frozen import freeze
from tests.reference.conftest import NOON, BagOfWords, Live, Send, baseline

HOUR = timedelta(hours=1)
KNOWN = ["your card is on its way", "the transfer takes two days", "we have closed the account"]
STRANGE = ["whales sing verses beneath polar ice", "seven knights ride toward a burning tower"]


def said(count: int, of: list[str]) -> list[str]:
    rng = np.random.default_rng(3)
    return [f"{of[n % len(of)]} {rng.integers(30)} {rng.integers(30)}" for n in range(count)]


def drained(
    database: Database, words: BagOfWords, indexes: Indexes, *, answers: bool = True
) -> None:
    keeping = TextFate(answers=answers)
    while drain_embeddings(database, words, indexes=indexes, keeping=keeping):
        pass


def distances(
    database: Database, version: Version, reference: ReferenceId, start: datetime
) -> np.ndarray:
    window = database.run(
        lambda tx: records.read_window(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            start=start,
            end=start + HOUR,
            reference_id=reference,
            answers=True,
        )
    )
    assert set(ANSWERS) <= window.signals.keys()
    return window.signals[DISTANCE]


def rows(database: Database, query: str) -> list[Any]:
    return database.run(lambda tx: list(tx.execute(sa.text(query))))


def test_answers_of_live_records_become_a_reference_and_are_compared_with_it(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    live(said(700, KNOWN), answers=True)
    drained(database, words, indexes)
    assert rows(database, "SELECT count(*) FROM pending_texts")[0][0] == 0
    assert rows(database, "SELECT count(*) FROM record_embeddings")[0][0] == 0  # no prompt came
    assert rows(database, "SELECT count(*) FROM answer_embeddings WHERE placed IS NULL") == [(700,)]
    window = Interval(start=NOON, end=NOON + 24 * HOUR)
    made = freeze(database, version=version, window=window, cause="first", created_by="kim")
    assert build_next(database, words, indexes=indexes, settings=BuildSettings(answers=True))
    stored = database.run(lambda tx: calibrations.read(tx, made.id))
    assert stored["output_similarity"].body is not None

    later = NOON + 48 * HOUR
    live(said(40, KNOWN), start=later, answers=True)
    live(said(40, STRANGE), start=later + HOUR, answers=True)
    live(["a prompt alone"], start=later + 2 * HOUR)
    drained(database, words, indexes)
    usual = distances(database, version, made.id, later)
    strange = distances(database, version, made.id, later + HOUR)
    assert (len(usual), len(strange)) == (40, 40)
    assert strange.min() > usual.max()
    assert np.isnan(distances(database, version, made.id, later + 2 * HOUR)).all()
    assert np.isnan(distances(database, version, ReferenceId(made.id + 1), later)).all()


def test_an_uploaded_baseline_brings_its_answers(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    lines = [
        line | {"output": text}
        for line, text in zip(baseline([None] * 700), said(700, KNOWN), strict=True)
    ]
    with_answers, without = send(lines), send(lines)
    assert build_next(database, words, indexes=indexes, settings=BuildSettings(answers=True))
    embedded = len(words.texts)
    assert build_next(database, words, indexes=indexes)
    assert len(words.texts) == embedded == 700
    found = [
        database.run(partial(calibrations.read, reference_id=made.id))["output_similarity"]
        for made in (with_answers, without)
    ]
    assert found[0].body is not None
    assert found[1].absent_reason is not None
    assert "answer_distance" in found[1].absent_reason
    assert rows(database, "SELECT text FROM reference_axes") == [("output",)]


def test_a_service_without_a_model_builds_without_answers(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    lines = [line | {"output": "so it is"} for line in baseline([None] * 400)]
    made = send(lines)
    words.error = ModelMissing("words", "there is no such model")
    assert build_next(database, words, indexes=indexes, settings=BuildSettings(answers=True))
    stored = database.run(lambda tx: calibrations.read(tx, made.id))
    assert stored["logit_ks"].body is not None
    assert stored["output_similarity"].body is None


@pytest.mark.parametrize("answers", [True, False])
def test_an_answer_is_embedded_only_where_a_detector_reads_it(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live, *, answers: bool
) -> None:
    live(["one answer"], answers=True)
    drained(database, words, indexes, answers=answers)
    assert words.texts == (["one answer"] if answers else [])
    assert rows(database, "SELECT count(*) FROM pending_texts")[0][0] == 0
