import json

import numpy as np
import pytest

from detectors.perplexity import DocumentScores, as_score, compare, noise_floor


def run(mean_nll: np.ndarray, tokens: np.ndarray) -> DocumentScores:
    return DocumentScores(sum_nll=mean_nll * tokens, tokens=tokens, size_bytes=4.0 * tokens)


@pytest.fixture
def tokens(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(80, 400, size=100).astype(float)


@pytest.fixture
def level(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(2.5, 0.5, size=100)


def test_unchanged_weights_are_neither_changed_nor_degraded(
    level: np.ndarray, tokens: np.ndarray
) -> None:
    found = compare([run(level, tokens)] * 3, run(level, tokens))
    assert not found.changed
    assert not found.degraded
    assert found.effect == pytest.approx(0.0, abs=1e-12)
    assert found.perplexity == pytest.approx(found.reference_perplexity)


def test_noise_floor_is_the_largest_move_between_repeats(
    level: np.ndarray, tokens: np.ndarray
) -> None:
    shaken = level.copy()
    shaken[3] += 0.007
    assert noise_floor([run(level, tokens), run(shaken, tokens)]) == pytest.approx(0.007)
    assert noise_floor([run(level, tokens)]) == 1e-3


def test_one_document_beyond_four_floors_is_a_change(level: np.ndarray, tokens: np.ndarray) -> None:
    moved = level.copy()
    moved[7] += 0.0041
    assert compare([run(level, tokens)], run(moved, tokens)).changed
    moved[7] = level[7] + 0.0039
    assert not compare([run(level, tokens)], run(moved, tokens)).changed


def test_other_token_counts_are_a_change_of_tokenizer(
    level: np.ndarray, tokens: np.ndarray
) -> None:
    now = DocumentScores(sum_nll=level * tokens, tokens=tokens + 1, size_bytes=4.0 * tokens)
    found = compare([run(level, tokens)], now)
    assert found.changed
    assert "another token count" in found.reasons[0]
    assert as_score(found).evidence_notice >= 0.0


def test_ten_percent_everywhere_is_degraded_at_once(level: np.ndarray, tokens: np.ndarray) -> None:
    found = compare([run(level, tokens)], run(level + np.log(1.10), tokens))
    assert found.degraded
    assert found.effect == pytest.approx(0.10)
    assert as_score(found).evidence_page == pytest.approx(np.log10(2.0))


def test_six_percent_unevenly_needs_two_runs(
    level: np.ndarray, tokens: np.ndarray, rng: np.random.Generator
) -> None:
    moves = rng.normal(np.log(1.06), 0.1, size=100)
    moves += np.log(1.06) - (moves * tokens).sum() / tokens.sum()
    worse = run(level + moves, tokens)
    first = compare([run(level, tokens)], worse)
    second = compare([run(level, tokens)], worse, previous=first)
    assert first.interval[0] > 0.0
    assert (first.degraded, second.degraded) == (False, True)
    assert as_score(first).evidence_page < 0.0 <= as_score(second).evidence_page


def test_a_better_model_is_changed_but_not_degraded(level: np.ndarray, tokens: np.ndarray) -> None:
    found = compare([run(level, tokens)], run(level - 0.2, tokens))
    assert found.changed
    assert not found.degraded
    assert as_score(found).value < 0.0


@pytest.mark.parametrize("documents", [10, 50, 200])
def test_interval_covers_the_truth(rng: np.random.Generator, documents: int) -> None:
    # published coverage 94 to 95 %; 500 runs at 94 %: below 90 % with probability under 1e-3
    tokens = rng.integers(80, 400, size=documents).astype(float)
    level = np.full(documents, 2.5)
    inside = 0
    for _ in range(500):
        moves = rng.normal(0.03, 0.07, size=documents)
        low, high = compare([run(level, tokens)], run(level + moves, tokens)).interval
        inside += low <= np.expm1(0.03) <= high
    assert 450 <= inside <= 495


def test_documents_that_cannot_be_scored_any_more_are_a_change_and_no_degradation(
    level: np.ndarray, tokens: np.ndarray
) -> None:
    partial = level.copy()
    partial[:40] = np.nan
    found = compare([run(level, tokens)], run(partial, tokens))
    assert (found.documents, found.unscored) == (60, 40)
    assert found.changed
    assert not found.degraded
    assert "40 documents that were registered cannot be scored now" in found.reasons[0]
    assert as_score(found).evidence_notice == 0.0


def test_documents_that_were_never_scored_are_no_change(
    level: np.ndarray, tokens: np.ndarray
) -> None:
    partial = level.copy()
    partial[:40] = np.nan
    assert not compare([run(level, tokens), run(partial, tokens)], run(partial, tokens)).changed


def test_impossible_tokens_count_thirty_nats(level: np.ndarray, tokens: np.ndarray) -> None:
    broken = compare([run(level, tokens)], run(np.full(100, np.inf), tokens))
    assert broken.degraded
    assert np.isfinite(broken.effect)


@pytest.mark.parametrize("documents", [0, 1])
def test_too_few_documents_degrade_nothing(documents: int) -> None:
    tokens = np.full(documents, 100.0)
    level = np.full(documents, 2.0)
    found = compare([run(level, tokens)], run(level + 1.0, tokens))
    assert not found.degraded
    assert as_score(found).n_window == documents


def test_bits_per_byte_by_hand() -> None:
    # 80 nats over 40 bytes: 80 / ln 2 / 40 = 2.885
    one = DocumentScores(
        sum_nll=np.array([60.0, 20.0]),
        tokens=np.array([30.0, 10.0]),
        size_bytes=np.array([30.0, 10.0]),
    )
    found = compare([one], one)
    assert found.bits_per_byte == pytest.approx(2.885, abs=1e-3)
    assert found.perplexity == pytest.approx(np.exp(2.0))


def test_details_are_plain_json(level: np.ndarray, tokens: np.ndarray) -> None:
    score = as_score(compare([run(level, tokens)], run(level + 0.1, tokens)))
    assert json.loads(json.dumps(score.details))["changed"] is True


@pytest.mark.parametrize(
    ("document", "size", "changed"), [(7, 0.03, False), (7, 0.05, True), (8, 0.03, True)]
)
def test_a_short_document_is_rounded_further_than_a_long_one(
    level: np.ndarray, document: int, size: float, *, changed: bool
) -> None:
    tokens = np.full(level.size, 400.0)
    tokens[7] = 25.0
    moved = level.copy()
    moved[document] += size
    found = compare([run(level, tokens)], run(moved, tokens), least_floor=0.005)
    assert found.changed is changed
    assert found.largest_move == pytest.approx(size / 2 if document == 7 else size)


def test_a_small_move_of_all_short_documents_is_one_of_the_corpus(level: np.ndarray) -> None:
    tokens = np.full(level.size, 25.0)
    found = compare([run(level, tokens)], run(level + 0.03, tokens), least_floor=0.005)
    assert found.changed
    assert found.largest_move == pytest.approx(0.03)
    apart = np.where(np.arange(level.size) % 2, 0.03, -0.03)
    assert not compare([run(level, tokens)], run(level + apart, tokens), least_floor=0.005).changed


def test_repeats_of_short_documents_are_brought_to_length_too(level: np.ndarray) -> None:
    tokens = np.full(level.size, 400.0)
    tokens[7] = 25.0
    other = level.copy()
    other[7] += 0.03
    assert noise_floor([run(level, tokens), run(other, tokens)]) == pytest.approx(0.015)


def test_one_run_is_believed_no_more_than_the_given_floor(
    level: np.ndarray, tokens: np.ndarray
) -> None:
    moved = level.copy()
    moved[7] += 0.02
    reference, now = [run(level, tokens)], run(moved, tokens)
    assert compare(reference, now).changed
    assert not compare(reference, now, least_floor=0.006).changed
    assert compare(reference, now, least_floor=0.004).noise_floor == 0.004
