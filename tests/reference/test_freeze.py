from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from monitor.domain import Interval, ReferenceState, Version, VersionId
from monitor.probes.errors import ModelMissing, ProbeFailed
from monitor.reference import learned
from monitor.reference.build import build_next
from monitor.reference.index import Indexes
from monitor.reference.learned import LearnedSettings, freeze_learned
from monitor.reference.live import REFUSED, drain_embeddings
from monitor.store.database import Database
from monitor.store.records import capture_counts, pending
from monitor.store.references import calibrations, references
from monitor.store.references.baselines import Learning
from tests.frozen import freeze
from tests.reference.conftest import (
    NOON,
    START,
    BagOfWords,
    Live,
    Send,
    baseline,
    questions,
    training,
)


def _drain(database: Database, words: BagOfWords, indexes: Indexes, **how: Any) -> int:
    return drain_embeddings(database, words, indexes=indexes, **how)


def _embeddings(database: Database) -> list[tuple[float | None, int | None, str]]:
    query = sa.text("SELECT similarity, reference_id, encoder FROM record_embeddings ORDER BY at")
    return [tuple(row) for row in database.run(lambda tx: tx.execute(query).all())]


def _waiting(database: Database) -> int:
    query = sa.text("SELECT count(*) FROM pending_texts")
    return database.run(lambda tx: tx.execute(query).scalar_one())


def test_texts_of_a_learning_version_are_embedded_without_a_similarity(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    live(questions(5))
    assert _drain(database, words, indexes, limit=3) == 3
    assert _drain(database, words, indexes, limit=3) == 2
    assert _drain(database, words, indexes) == 0
    assert _waiting(database) == 0
    assert _embeddings(database) == [(None, None, words.encoder)] * 5


def test_only_records_before_a_time_are_drained_for_a_window(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    live(questions(5))
    assert _drain(database, words, indexes, until=NOON + timedelta(minutes=2)) == 2
    assert _drain(database, words, indexes, until=NOON + timedelta(minutes=2)) == 0
    assert _waiting(database) == 3


def test_live_texts_are_compared_with_the_training_index(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send, live: Live
) -> None:
    made = send([*training(questions(50)), *baseline(questions(400, start=900))])
    build_next(database, words, indexes=indexes)
    live(["where is my card number 7", "onion soup"])
    assert _drain(database, words, indexes) == 2
    (near, by, _), (far, _, _) = _embeddings(database)
    assert by == made.id
    assert near == pytest.approx(1.0, abs=1e-3)
    assert far is not None
    assert far < 0.5


def test_another_encoder_is_refused_and_counted(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    words: BagOfWords,
    indexes: Indexes,
    send: Send,
    live: Live,
) -> None:
    send([*training(questions(50)), *baseline(questions(400, start=900))])
    build_next(database, words, indexes=indexes)
    live(questions(3))
    other = BagOfWords("words@2/bfloat16")
    assert _drain(database, other, indexes) == 3
    assert _embeddings(database) == [(None, None, other.encoder)] * 3
    totals = database.run(
        lambda tx: capture_counts.totals(
            tx, adapter_id=version.adapter_id, since=START - timedelta(days=400)
        )
    )
    assert totals[REFUSED] == 3


def test_texts_wait_on_while_the_probe_is_down(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    live(questions(4))
    for error in (ModelMissing("m", "gone"), ProbeFailed("paused", permanent=False, asked=False)):
        words.error = error
        for _ in range(7):
            with pytest.raises(type(error)):
                _drain(database, words, indexes)
    words.error = None
    assert _drain(database, words, indexes) == 4


class Fragile(BagOfWords):
    """Dies of one text."""

    def embed(self, texts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        if "poison" in texts:
            raise ProbeFailed("signal 11", permanent=False)
        return super().embed(texts)


def test_a_text_that_ends_the_worker_is_dropped_and_the_others_are_not(
    database: Database, version: Version, indexes: Indexes, live: Live
) -> None:
    live([*questions(3), "poison", *questions(3, start=50)])
    fragile, failures = Fragile(), 0
    for _ in range(12):
        try:
            if _drain(database, fragile, indexes) == 0:
                break
        except ProbeFailed:
            failures += 1
    assert failures == pending.MAX_FAILURES
    assert len(_embeddings(database)) == 6
    totals = database.run(
        lambda tx: capture_counts.totals(
            tx, adapter_id=version.adapter_id, since=START - timedelta(days=400)
        )
    )
    assert totals["unembedded"] == 1


def test_a_frozen_window_is_its_own_index_and_baseline(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    live(questions(800))
    while _drain(database, words, indexes):
        pass
    window = Interval(start=NOON, end=NOON + timedelta(days=1))
    made = freeze(database, version=version, window=window, cause="first", created_by="kim")
    assert build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.get(tx, made.id))
    assert built is not None
    assert (built.state, built.error) == (ReferenceState.READY, None)
    assert (built.n_training, built.n_baseline) == (400, 800)
    assert built.provisional
    bins = database.run(lambda tx: calibrations.read_bins(tx, made.id))
    assert bins["mean_nll"].counts.sum() == 800
    assert 300 <= bins["similarity"].counts.sum() <= 400


def test_a_second_freeze_keeps_the_training_index_of_the_first(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    words: BagOfWords,
    indexes: Indexes,
    send: Send,
    live: Live,
) -> None:
    first = send([*training(questions(50)), *baseline(questions(400, start=900))])
    build_next(database, words, indexes=indexes)
    live([*questions(20), *questions(500, of="parcel", start=2_000)])
    while _drain(database, words, indexes):
        pass
    window = Interval(start=NOON, end=NOON + timedelta(days=1))
    second = freeze(database, version=version, window=window, cause="new normal", created_by="kim")
    assert build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.details(tx, second.id))
    assert (built.reference.n_training, built.reference.n_baseline) == (50, 520)
    assert np.array_equal(indexes.open(database, first.id), indexes.open(database, second.id))
    # live texts that are training texts are no held-out baseline of similarity
    assert built.request["same_texts"] == 20


def test_freezing_an_empty_window_fails_in_words(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes
) -> None:
    window = Interval(start=NOON, end=NOON + timedelta(days=1))
    made = freeze(database, version=version, window=window, cause="c", created_by="kim")
    assert build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.get(tx, made.id))
    assert built is not None
    assert built.state is ReferenceState.FAILED
    assert built.error == "no baseline records; at least 300 are needed"


def test_a_window_that_ends_before_it_starts_is_refused(
    database: Database, version: Version
) -> None:
    window = Interval(start=NOON, end=NOON)
    with pytest.raises(ValueError, match="ends"):
        freeze(database, version=version, window=window, cause="c", created_by="kim")


def test_a_version_freezes_itself_once_it_has_learned_enough(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    later = NOON + timedelta(hours=20)
    live(questions(799))
    assert freeze_learned(database, now=later, settings=LearnedSettings(least=800)) == []
    live(["one more"], start=NOON + timedelta(hours=15))
    while _drain(database, words, indexes):
        pass
    [made] = freeze_learned(database, now=later, settings=LearnedSettings(least=800))
    assert (made.generation, made.cause) == (1, "learned 800 records")
    assert freeze_learned(database, now=later, settings=LearnedSettings(least=800)) == []
    build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.get(tx, made.id))
    assert built is not None
    assert (built.state, built.provisional) == (ReferenceState.READY, True)
    assert freeze_learned(database, now=later, settings=LearnedSettings(least=800)) == []


def test_the_fewest_records_that_the_config_accepts_are_300_of_common_settings(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    """Before, a build of 299 and an odd one failed, and the version was left to a person."""
    later, rules = NOON + timedelta(hours=20), LearnedSettings(least=300)
    assert rules.problems == []
    live(questions(299), sampling=["temperature=0"])
    live(["an odd one"], start=NOON + timedelta(hours=6), sampling=["temperature=1.7"])
    assert freeze_learned(database, now=later, settings=rules) == []
    live(["one more"], start=NOON + timedelta(hours=7), sampling=["temperature=0"])
    [made] = freeze_learned(database, now=later, settings=rules)
    build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.get(tx, made.id))
    assert built is not None
    assert (built.state, built.error, built.n_baseline) == (ReferenceState.READY, None, 300)


def test_a_version_whose_settings_are_all_rare_says_so_at_a_thousand_records(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    later, rules = NOON + timedelta(hours=20), LearnedSettings(least=300)
    live(questions(999), sampling=[f"temperature={n}" for n in range(200)])
    assert freeze_learned(database, now=later, settings=rules) == []
    live(["one more"], start=NOON + timedelta(hours=18))
    [made] = freeze_learned(database, now=later, settings=rules)
    build_next(database, words, indexes=indexes)
    built = database.run(lambda tx: references.get(tx, made.id))
    assert built is not None
    assert built.error == (
        "0 baseline records of common settings (1000 in all); at least 300 are needed"
    )


@pytest.mark.parametrize(
    ("generation", "span", "days", "records", "wanted"),
    [
        pytest.param(0, 0.0, 0.3, 1_000, True, id="the first: at once"),
        pytest.param(1, 0.5, 0.9, 1_900, False, id="not yet twice half a day"),
        pytest.param(1, 0.5, 1.0, 2_000, True, id="twice half a day"),
        pytest.param(3, 2.0, 3.9, 8_000, False, id="not yet twice two days"),
        pytest.param(4, 8.0, 14.0, 30_000, True, id="14 days: it will be approved"),
        pytest.param(1, 2.0, 5.0, 900, False, id="days, but too few records"),
    ],
)
def test_a_provisional_reference_makes_way_for_one_of_twice_its_days(
    *, generation: int, span: float, days: float, records: int, wanted: bool
) -> None:
    one = Learning(
        version_id=VersionId(1),
        records=records,
        first_at=NOON - timedelta(days=days),
        generation=generation,
        span_days=span,
    )
    assert learned._worth_it(one, now=NOON) is wanted  # noqa: SLF001 - a rule of many cases
