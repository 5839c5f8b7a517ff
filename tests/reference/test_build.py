import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from detectors import DETECTORS
from monitor.domain import Reference, ReferenceState, Version
from monitor.probes.embedding import EmbeddingClient
from monitor.probes.errors import ProbeFailed
from monitor.reference.build import build_next
from monitor.reference.index import Indexes, IndexMissing
from monitor.reference.upload import UploadRefused
from monitor.store.database import Database
from monitor.store.references import calibrations, reference_vectors, references
from monitor.store.references.references import MAX_CLAIMS, ReferenceClaim
from monitor.store.tables.references import reference_items
from tests.reference.conftest import (
    BagOfWords,
    Open,
    Send,
    baseline,
    ndjson,
    questions,
    training,
)


def _built(
    database: Database, words: BagOfWords | EmbeddingClient, indexes: Indexes, made: Reference
) -> Reference:
    assert build_next(database, words, indexes=indexes)
    found = database.run(lambda tx: references.get(tx, made.id))
    assert found is not None
    return found


def _staged(database: Database) -> int:
    query = sa.select(sa.func.count()).select_from(reference_items)
    return int(database.run(lambda tx: tx.execute(query).scalar_one()))


def _let_lease_end(database: Database) -> None:
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE \"references\" SET lease_until = now() - interval '1 s'"))


def _claim(database: Database) -> ReferenceClaim:
    claim = database.run(references.claim_building)
    assert claim is not None
    return claim


def test_nothing_to_build_is_no_error(
    database: Database, words: BagOfWords, indexes: Indexes
) -> None:
    assert build_next(database, words, indexes=indexes) is False


def test_an_upload_becomes_a_reference_and_its_texts_go(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(700)), *baseline(questions(1_100, start=5_000))])
    built = _built(database, words, indexes, made)
    assert (built.state, built.error, built.progress) == (ReferenceState.READY, None, 1.0)
    assert (built.n_training, built.n_baseline) == (700, 1_100)
    assert (built.encoder, built.strata) == (words.encoder, ("",))
    assert built.span_days == pytest.approx(14.0)
    assert built.approved_by == "coverage"
    assert _staged(database) == 0
    details = database.run(lambda tx: references.details(tx, made.id))
    assert details.hourly_rate == pytest.approx(1_100 / (14 * 24))
    assert database.run(lambda tx: references.current(tx, version.id)) == built


class NoModel:
    """An encoder whose model is missing: whoever asks it anything fails."""

    @property
    def encoder(self) -> str:
        raise ProbeFailed("no model is here", permanent=True)

    def embed(self, texts: object) -> object:
        raise ProbeFailed(f"no model is here for {texts}", permanent=True)


def test_a_baseline_without_prompts_needs_no_embedding_model(
    database: Database, version: Version, indexes: Indexes, send: Send
) -> None:
    made = send(baseline([None] * 400))
    assert build_next(database, NoModel(), indexes=indexes)  # type: ignore[arg-type]
    found = database.run(lambda tx: references.current(tx, version.id))
    assert found is not None
    assert (found.id, found.state, found.encoder) == (made.id, ReferenceState.READY, None)


def test_every_detector_that_the_baseline_can_carry_is_calibrated(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(50)), *baseline(questions(400, start=900))])
    _built(database, words, indexes, made)
    found = database.run(lambda tx: calibrations.read(tx, made.id))
    assert found.keys() == DETECTORS.keys()
    for name in ("logit_ks", "input_similarity", "repetition", "empty", "missing"):
        body = found[name].body
        assert body is not None
        assert DETECTORS[name].names(DETECTORS[name].load(body))
    # no top-k came, so entropy was never measured
    assert found["entropy"].body is None
    assert "never measured" in (found["entropy"].absent_reason or "")
    bins = database.run(lambda tx: calibrations.read_bins(tx, made.id))
    assert bins["similarity"].counts.sum() == bins["mean_nll"].counts.sum() == 400


@pytest.mark.parametrize(
    ("seen", "approved"),
    [((1_000, 13.95), "coverage"), ((999, 14.0), None), ((1_000, 13.8), None)],
)
def test_coverage_approves_from_14_days_and_1000_records(  # noqa: PLR0917
    database: Database,
    words: BagOfWords,
    indexes: Indexes,
    send: Send,
    seen: tuple[int, float],
    approved: str | None,
) -> None:
    records, days = seen
    made = send([*training(["a b"]), *baseline([None] * records, days=days)])
    built = _built(database, words, indexes, made)
    assert built.approved_by == approved


def test_a_baseline_of_299_fails_with_the_numbers_in_the_error(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send([*training(["a b"]), *baseline(questions(299))])
    built = _built(database, words, indexes, made)
    assert built.state is ReferenceState.FAILED
    assert "299 baseline records" in (built.error or "")
    assert "300 are needed" in (built.error or "")
    assert _staged(database) == 0
    with pytest.raises(IndexMissing):
        indexes.open(database, made.id)


def test_rare_settings_are_set_aside(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    rare = baseline(["odd one", "odd two"], temperature=1.7)
    named = [line | {"id": f"rare-{line['id']}"} for line in rare]
    made = send([*training(["a b"]), *baseline(questions(400), temperature=0.0), *named])
    built = _built(database, words, indexes, made)
    assert built.strata == ("temperature=0",)
    assert built.n_baseline == 400
    details = database.run(lambda tx: references.details(tx, made.id))
    assert details.request["other_strata"] == 2


def test_without_training_texts_the_early_half_is_the_index(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send(baseline(questions(1_200)))
    built = _built(database, words, indexes, made)
    assert (built.n_training, built.n_baseline) == (600, 1_200)
    bins = database.run(lambda tx: calibrations.read_bins(tx, made.id))
    # only the later half was held out from the index, all records carry the other signals
    assert 300 <= bins["similarity"].counts.sum() <= 600
    assert bins["mean_nll"].counts.sum() == 1_200


def test_subjects_of_the_early_half_are_not_held_out(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    lines = [
        line | {"subject": f"user-{i % 10 if i >= 700 else i}"}
        for i, line in enumerate(baseline(questions(1_400)))
    ]
    made = send(lines)
    _built(database, words, indexes, made)
    stored = database.run(lambda tx: calibrations.read(tx, made.id))
    assert "never measured" in (stored["input_similarity"].absent_reason or "")


def test_embeddings_that_came_along_need_no_probe(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(450, 8)).round(4).tolist()
    given = [{"role": "training", "embedding": v, "encoder": "theirs"} for v in vectors[:50]]
    records = [
        line | {"embedding": v, "encoder": "theirs"}
        for line, v in zip(baseline([None] * 400), vectors[50:], strict=True)
    ]
    words.error = ProbeFailed("down", permanent=False)
    built = _built(database, words, indexes, send([*given, *records]))
    assert (built.state, built.encoder) == (ReferenceState.READY, "theirs")


def test_two_encoders_in_one_reference_are_refused_by_name(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    given = [{"role": "training", "embedding": [1.0, 2.0], "encoder": "theirs"}]
    built = _built(database, words, indexes, send([*given, *baseline(questions(400))]))
    assert built.state is ReferenceState.FAILED
    assert "'theirs'" in (built.error or "")
    assert repr(words.encoder) in (built.error or "")


def test_a_probe_that_is_down_postpones_and_loses_nothing(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(5)), *baseline(questions(400, start=900))])
    words.error = ProbeFailed("no model", permanent=False)
    for _ in range(MAX_CLAIMS + 2):
        waiting = _built(database, words, indexes, made)
        assert (waiting.state, waiting.error) == (ReferenceState.BUILDING, "no model")
        assert build_next(database, words, indexes=indexes) is False
        _let_lease_end(database)
    words.error = None
    assert _built(database, words, indexes, made).state is ReferenceState.READY


def test_a_builder_that_dies_again_and_again_ends_in_failed(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(5)), *baseline(questions(400, start=900))])
    for _ in range(MAX_CLAIMS):
        _claim(database)
        _let_lease_end(database)
    built = _built(database, words, indexes, made)
    assert (built.state, built.error) == (
        ReferenceState.FAILED,
        f"{MAX_CLAIMS} builders ended without a result",
    )


class DyingWords(BagOfWords):
    """Ends its builder, as a SIGKILL would, at the third request."""

    def embed(self, texts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        if len(self.texts) >= 1_024:
            raise SystemExit
        return super().embed(texts)


def test_the_next_builder_goes_on_where_the_last_one_stood(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    texts = questions(1_300)
    made = send([*training(texts), *baseline(questions(400, start=5_000))])
    dying = DyingWords()
    with pytest.raises(SystemExit):
        build_next(database, dying, indexes=indexes)
    assert build_next(database, words, indexes=indexes) is False
    _let_lease_end(database)
    built = _built(database, words, indexes, made)
    assert (built.state, built.n_training) == (ReferenceState.READY, 1_300)
    assert words.texts[: 1_300 - 1_024] == texts[1_024:]
    indexed = np.asarray(indexes.open(database, made.id))
    np.testing.assert_allclose(indexed, words.embed(texts), rtol=0, atol=1e-3)


def test_a_builder_with_another_encoder_starts_the_index_afresh(
    database: Database, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(1_300)), *baseline(questions(400, start=5_000))])
    with pytest.raises(SystemExit):
        build_next(database, DyingWords(), indexes=indexes)
    _let_lease_end(database)
    other = BagOfWords("words@2/float32")
    built = _built(database, other, indexes, made)
    assert built.encoder == "words@2/float32"
    assert other.texts[:1_300] == questions(1_300)


def test_a_builder_that_lost_its_lease_writes_nothing_more(database: Database, send: Send) -> None:
    made = send([*training(questions(5)), *baseline(questions(400, start=900))])
    old = _claim(database)
    _let_lease_end(database)
    new = _claim(database)
    assert new.epoch == old.epoch + 1
    with database.begin() as tx, pytest.raises(references.LeaseLost):
        references.progress(tx, old, share=0.5)
    with database.begin() as tx, pytest.raises(references.LeaseLost):
        references.failed(tx, old, error="late")
    found = database.run(lambda tx: references.get(tx, made.id))
    assert found is not None
    assert (found.state, found.error) == (ReferenceState.BUILDING, None)


def test_an_interrupted_upload_fails_once_its_lease_ends(
    database: Database, words: BagOfWords, indexes: Indexes, start_upload: Open
) -> None:
    upload = start_upload()
    upload.feed(ndjson(training(questions(600))))
    assert build_next(database, words, indexes=indexes) is False
    _let_lease_end(database)
    assert build_next(database, words, indexes=indexes)
    with pytest.raises(UploadRefused, match="given up"):
        upload.feed(ndjson(training(questions(600))))
    assert _staged(database) == 0


def test_a_new_generation_under_construction_makes_the_old_one_provisional(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    first = _built(database, words, indexes, send([*training(["a"]), *baseline([None] * 1_000)]))
    assert not first.provisional
    second = send([*training(["a"]), *baseline([None] * 400)])
    assert second.generation == 2
    current = database.run(lambda tx: references.current(tx, version.id))
    assert current is not None
    assert (current.id, current.provisional) == (first.id, True)
    _built(database, words, indexes, second)
    current = database.run(lambda tx: references.current(tx, version.id))
    assert current is not None
    assert (current.id, current.provisional) == (second.id, True)
    assert database.run(lambda tx: references.approve(tx, second.id, by="kim"))
    assert not database.run(lambda tx: references.approve(tx, second.id, by="kim"))
    current = database.run(lambda tx: references.current(tx, version.id))
    assert current is not None
    assert current.approved_by == "kim"


def test_an_index_file_that_was_damaged_is_made_again(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(30)), *baseline(questions(400, start=900))])
    _built(database, words, indexes, made)
    truth = np.array(indexes.open(database, made.id))
    path = indexes.path(made.id)
    body = bytearray(path.read_bytes())
    body[-1] ^= 0xFF
    path.write_bytes(bytes(body))
    again = Indexes(path.parent).open(database, made.id)
    assert np.array_equal(again, truth)
    assert not list(path.parent.glob("*-*"))


def test_an_index_of_another_database_is_not_believed(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(30)), *baseline(questions(400, start=900))])
    _built(database, words, indexes, made)
    truth = np.array(indexes.open(database, made.id))
    with database.begin() as tx:
        tx.execute(
            sa.text("UPDATE reference_vectors SET vectors = decode(repeat('00', 245760), 'hex')")
        )
    Indexes(indexes.path(made.id).parent).forget(made.id)
    with pytest.raises(OSError, match="cannot be read back"):
        Indexes(indexes.path(made.id).parent).open(database, made.id)
    assert truth.shape == (30, 4096)


def test_real_requests_are_nearer_to_training_than_strange_ones(
    database: Database, minilm: EmbeddingClient, indexes: Indexes, send: Send
) -> None:
    made = send([*training(questions(40)), *baseline(questions(320, of="parcel"), days=1)])
    built = _built(database, minilm, indexes, made)
    assert (built.state, built.encoder) == (ReferenceState.READY, minilm.encoder)
    index = np.asarray(indexes.open(database, made.id), dtype=np.float32)
    near, far = minilm.embed(["where is my card number 400", "a recipe for onion soup"])
    assert (index @ near).max() > 0.8
    assert (index @ far).max() < 0.3


def test_a_builder_killed_at_work_is_followed_by_another(
    database: Database, words: BagOfWords, indexes: Indexes, send: Send, tmp_path: Path
) -> None:
    texts = questions(3_000)
    made = send([*training(texts), *baseline(questions(400, start=5_000))])
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.reference.builder_process", url, str(tmp_path)]
    with subprocess.Popen(command) as builder:
        while database.run(lambda tx: reference_vectors.count(tx, made.id))[1] < 2:
            time.sleep(0.05)
            assert builder.poll() is None
        builder.kill()
    stood, _ = database.run(lambda tx: reference_vectors.count(tx, made.id))
    assert 0 < stood < 3_000
    assert build_next(database, words, indexes=indexes) is False
    _let_lease_end(database)
    built = _built(database, words, indexes, made)
    assert (built.state, built.n_training) == (ReferenceState.READY, 3_000)
    assert words.texts[: 3_000 - stood] == texts[stood:]
