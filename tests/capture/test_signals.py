import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.checks import Tokens, clean, top_statistics
from monitor.capture.packing import pack_f16
from monitor.capture.signals import (
    KEPT_TOKENS,
    kept_arrays,
    text_signals,
    token_signals,
)

TOKEN_SIGNALS = (
    "sum_nll",
    "mean_nll",
    "p95_nll",
    "near_certain",
    "entropy",
    "margin",
    "non_finite",
    "missing",
)
LOGPROBS = st.floats(min_value=-29.0, max_value=0.0, width=32)


def _tokens(*logprob: float, **more: list[float]) -> Tokens:
    arrays = {name: np.array(values, dtype=np.float32) for name, values in more.items()}
    return Tokens(logprob=np.array(logprob, dtype=np.float32), **arrays)


def _one(answer: Tokens) -> dict[str, float]:
    return {name: float(values[0]) for name, values in token_signals([answer]).items()}


def test_aggregates_are_those_of_the_definition() -> None:
    found = _one(_tokens(-0.005, -1.0, -2.0, -3.0, -4.0))
    assert found["sum_nll"] == pytest.approx(10.005)
    assert found["mean_nll"] == pytest.approx(2.001)
    # numpy's default quantile: position .95 * 4 = 3.8 between 3 and 4
    assert found["p95_nll"] == pytest.approx(3.8)
    assert found["near_certain"] == pytest.approx(0.2)
    assert (found["missing"], found["non_finite"]) == (0.0, 0.0)
    assert math.isnan(found["entropy"])


def test_minus_infinity_is_clipped_at_thirty_nats() -> None:
    found = _one(_tokens(-math.inf, -9999.0, -1.0, -1.0))
    assert found["sum_nll"] == pytest.approx(62.0)
    assert found["non_finite"] == 0.0


def test_nan_and_plus_infinity_are_dropped_and_counted() -> None:
    found = _one(_tokens(math.nan, math.inf, -1.0, -1.0, -1.0, -1.0))
    assert (found["mean_nll"], found["non_finite"], found["missing"]) == (1.0, 2.0, 0.0)


@pytest.mark.parametrize("logprob", [[], [-1.0] * 3, [-1.0] * 3 + [math.nan] * 9])
def test_fewer_than_four_finite_tokens_are_missing(logprob: list[float]) -> None:
    found = _one(_tokens(*logprob))
    assert found["missing"] == 1.0
    assert all(math.isnan(found[name]) for name in ("sum_nll", "mean_nll", "p95_nll"))


def test_aggregates_are_over_all_tokens_though_256_are_kept() -> None:
    answer = _tokens(*[-1.0] * 256, *[-2.0] * 256)
    assert _one(answer)["mean_nll"] == pytest.approx(1.5)
    short = _tokens(-0.5, math.nan, -math.inf, entropy=[1, 2, 3], margin=[1, math.nan, 3])
    kept, other = kept_arrays([answer, short])
    assert len(kept.nll) == 2 * KEPT_TOKENS
    assert kept.entropy is None
    assert kept.margin is None
    np.testing.assert_array_equal(np.frombuffer(other.nll, "<f2"), [0.5, np.nan, 30.0])
    assert other.entropy is not None
    np.testing.assert_array_equal(np.frombuffer(other.entropy, "<f2"), [1, 2, 3])


@given(st.lists(st.lists(LOGPROBS, max_size=40), min_size=1, max_size=80))
def test_many_answers_together_give_what_each_gives_alone(answers: list[list[float]]) -> None:
    together = token_signals([_tokens(*answer) for answer in answers])
    for place, answer in enumerate(answers):
        alone = _one(_tokens(*answer))
        for name in TOKEN_SIGNALS:
            np.testing.assert_allclose(together[name][place], alone[name], rtol=1e-6)


@given(st.lists(LOGPROBS, min_size=4, max_size=60))
def test_aggregates_agree_with_numpy_and_ignore_order(logprob: list[float]) -> None:
    nll = -np.array(logprob, dtype=np.float32).astype(float)
    found = _one(_tokens(*logprob))
    assert found["mean_nll"] == pytest.approx(nll.mean(), rel=1e-6, abs=1e-9)
    assert found["p95_nll"] == pytest.approx(np.quantile(nll, 0.95), rel=1e-5, abs=1e-6)
    assert found["near_certain"] == pytest.approx((nll < 0.01).mean())
    assert found == pytest.approx(_one(_tokens(*reversed(logprob))), nan_ok=True)


def test_entropy_of_a_fair_coin_is_one_bit_and_its_margin_nothing() -> None:
    entropy, margin = top_statistics([[math.log(0.5)] * 2])
    assert entropy[0] == pytest.approx(math.log(2))
    assert margin[0] == 0.0


def test_the_tail_counts_as_one_more_outcome() -> None:
    entropy, margin = top_statistics([[math.log(0.6), math.log(0.2)]])
    expected = -(0.6 * math.log(0.6) + 0.2 * math.log(0.2) * 2)  # the tail is .2 as well
    assert entropy[0] == pytest.approx(expected, rel=1e-6)
    assert margin[0] == pytest.approx(math.log(3), rel=1e-6)


def test_five_entries_count_so_that_k_does_not_matter() -> None:
    top = [math.log(p) for p in (0.3, 0.2, 0.15, 0.1, 0.05, 0.04, 0.03)]
    shuffled = [top[n] for n in (6, 2, 0, 1, 4, 3, 5)]
    np.testing.assert_allclose(top_statistics([top[:5]]), top_statistics([shuffled]), rtol=1e-6)


def test_a_token_without_entries_has_no_entropy_and_one_entry_no_margin() -> None:
    entropy, margin = top_statistics([None, [], [-0.5], [-math.inf, -0.1]])
    assert np.isnan(entropy[:2]).all()
    assert np.isfinite(entropy[2:]).all()
    assert np.isnan(margin[:3]).all()
    assert margin[3] == 30.0


@given(st.lists(LOGPROBS, min_size=1, max_size=20))
def test_entropy_is_between_zero_and_that_of_six_equal_outcomes(top: list[float]) -> None:
    total = sum(math.exp(value) for value in top)
    normal = [value - math.log(max(total, 1.0)) - 1e-6 for value in top]
    entropy, _ = top_statistics([normal])
    assert -1e-6 <= entropy[0] <= math.log(6) + 1e-6


PROSE = (
    "Thank you for writing in. Your card left our warehouse on Monday and should arrive "
    "within five working days. If it has not come by then, please open the app, choose "
    "Card, then Report a problem, and we will send another one free of charge."
)


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        (PROSE, 0.0),
        ("", 0.0),
        ("yes", 0.0),
        ("no " * 15, 0.0),  # 45 characters, 15 words: short of both limits
        ("I am sorry. " * 20, 1.0),
        (PROSE + " please please please" * 12, 1.0),
        (PROSE + "的" * 60, 1.0),
        ("ha" * 40, 1.0),
        ("abc " * 15 + "and then something else altogether happened in the end, my friends", 0.0),
        (PROSE + " " * 200, 0.0),
    ],
)
def test_loops_are_told_from_prose(text: str, loop: float) -> None:
    assert text_signals(text).loop == loop


def test_repeated_four_grams_are_a_share() -> None:
    assert text_signals("a b c").rep_4gram == 0.0
    # abcdabcd: grams abcd bcda cdab dabc abcd: one of five is a repeat
    assert text_signals("a b c d a b c d").rep_4gram == pytest.approx(1 / 5)


def test_loops_compress_and_short_texts_are_not_measured() -> None:
    assert text_signals("I am sorry. " * 40).compression > 4
    assert 1.0 < text_signals(PROSE).compression < 2.5
    assert math.isnan(text_signals("yes").compression)


@given(st.text())
def test_any_text_can_be_measured(text: str) -> None:
    found = text_signals(text)
    assert 0.0 <= found.rep_4gram < 1.0
    assert found.loop in (0.0, 1.0)


@given(st.text(alphabet=st.characters()), st.sampled_from(["", "\0", "\ud800", "x"]))
def test_cleaned_text_can_be_stored_and_loses_nothing_else(text: str, bad: str) -> None:
    cleaned = clean(text + bad)
    cleaned.encode()
    assert "\0" not in cleaned
    if bad == "x" and "\0" not in text and text.isprintable():
        assert cleaned == text + bad


@given(st.lists(st.floats(width=16)))
def test_packed_numbers_survive(values: list[Any]) -> None:
    import base64  # noqa: PLC0415 (the sender's side, only here)

    from monitor.capture.packing import unpack_f16  # noqa: PLC0415

    back = unpack_f16(base64.b64decode(pack_f16(values)))
    np.testing.assert_array_equal(back, np.array(values, dtype=np.float32))
