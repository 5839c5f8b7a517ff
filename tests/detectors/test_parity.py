import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.parity import Limits, Parity, TopLogprobs, beyond, by_document, compare, pooled

VOCABULARY = 12


def logprobs(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def top(full: np.ndarray, *, k: int, text: np.ndarray, document: np.ndarray) -> TopLogprobs:
    """What an engine tells of whole distributions ``(P, V)`` over the tokens of a text."""
    order = np.argsort(-full, axis=1, kind="stable")[:, :k]
    return TopLogprobs(
        chosen=np.take_along_axis(full, text[:, None], axis=1)[:, 0],
        tokens=order,
        logprobs=np.take_along_axis(full, order, axis=1),
        document=document,
    )


def pair(
    a: np.ndarray, b: np.ndarray, *, k: int, text: np.ndarray | None = None
) -> tuple[TopLogprobs, TopLogprobs]:
    text = np.zeros(len(a), dtype=np.int64) if text is None else text
    document = np.zeros(len(a), dtype=np.int64)
    return (
        top(logprobs(a), k=k, text=text, document=document),
        top(logprobs(b), k=k, text=text, document=document),
    )


def exact_kl(a: np.ndarray, b: np.ndarray) -> float:
    p, q = logprobs(a), logprobs(b)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


LOGITS = hnp.arrays(
    np.float64, (7, VOCABULARY), elements=st.floats(-12, 12, allow_nan=False, width=32)
)
TEXT = hnp.arrays(np.int64, 7, elements=st.integers(0, VOCABULARY - 1))


@given(a=LOGITS, b=LOGITS, text=TEXT, k=st.integers(1, VOCABULARY))
def test_the_divergence_is_a_lower_bound_and_exact_with_every_token_known(
    a: np.ndarray, b: np.ndarray, text: np.ndarray, k: int
) -> None:
    found = compare(*pair(a, b, k=k, text=text))
    assert 0.0 <= found.kl <= exact_kl(a, b) + 1e-5
    if k == VOCABULARY:
        assert found.exact
        assert found.kl == pytest.approx(exact_kl(a, b), abs=1e-5)


@given(a=LOGITS, text=TEXT, k=st.integers(1, VOCABULARY))
def test_a_model_is_the_same_as_itself(a: np.ndarray, text: np.ndarray, k: int) -> None:
    found = compare(*pair(a, a, k=k, text=text))
    assert (found.kl, found.top1, found.max_delta) == (0.0, 1.0, 0.0)
    assert found.cosine == pytest.approx(1.0)


@given(a=LOGITS, b=LOGITS, text=TEXT, k=st.integers(1, VOCABULARY), seed=st.integers(0, 99))
def test_the_order_of_positions_is_irrelevant(
    a: np.ndarray, b: np.ndarray, text: np.ndarray, k: int, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(a))
    before = compare(*pair(a, b, k=k, text=text))
    after = compare(*pair(a[order], b[order], k=k, text=text[order]))
    assert after.kl == pytest.approx(before.kl)
    assert (after.top1, after.max_delta) == (before.top1, before.max_delta)


@given(a=LOGITS, b=LOGITS, text=TEXT, k=st.integers(1, VOCABULARY))
def test_agreement_delta_and_cosine_are_symmetric(
    a: np.ndarray, b: np.ndarray, text: np.ndarray, k: int
) -> None:
    one, other = pair(a, b, k=k, text=text)
    there, back = compare(one, other), compare(other, one)
    assert (there.top1, there.max_delta) == (back.top1, back.max_delta)
    assert there.cosine == pytest.approx(back.cosine)


def test_the_divergence_by_hand() -> None:
    # known to both: token 0; KL((.5, .5) || (.25, .75)) = .5 ln 2 + .5 ln(2/3) = .14384
    a, b = np.log([[0.5, 0.3, 0.2]]), np.log([[0.25, 0.375, 0.375]])
    one, other = pair(a, b, k=1, text=np.array([0]))
    assert compare(one, other).kl == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), abs=1e-9)


def test_the_texts_token_counts_beside_the_likeliest() -> None:
    # the likeliest tokens are the same; only the text's own tells the two apart
    a, b = np.log([[0.6, 0.3, 0.1]]), np.log([[0.6, 0.1, 0.3]])
    one, other = pair(a, b, k=1, text=np.array([1]))
    assert compare(one, other).kl == pytest.approx(0.3 * np.log(3) + 0.1 * np.log(1 / 3), abs=1e-9)
    assert compare(one, other).max_delta == pytest.approx(np.log(3))


def test_tied_tokens_agree_when_one_of_them_is_shared() -> None:
    half = np.log([[0.4, 0.4, 0.2]])
    lower, upper = np.log([[0.1, 0.8, 0.1]]), np.log([[0.8, 0.1, 0.1]])
    apart = np.log([[0.1, 0.1, 0.8]])
    assert [compare(*pair(half, b, k=2)).top1 for b in (lower, upper, apart)] == [1.0, 1.0, 0.0]


def test_high_cosine_passes_models_that_disagree_on_the_top_token() -> None:
    # why the cosine decides nothing: two close rivals change places at 22 of 100 tokens
    a = np.log(np.tile([0.47, 0.43, 0.10], (100, 1)))
    b = a.copy()
    b[:22, :2] = b[:22, 1::-1]
    found = compare(*pair(a, b, k=3))
    assert found.top1 == pytest.approx(0.78)
    assert found.cosine > 0.99


def test_an_impossible_token_costs_thirty_nats_and_no_more() -> None:
    a, b = pair(np.log([[0.5, 0.5]]), np.log([[0.5, 0.5]]), k=2)
    dead = TopLogprobs(
        chosen=np.array([-9999.0]),
        tokens=b.tokens,
        logprobs=np.array([[-9999.0, 0.0]]),
        document=b.document,
    )
    assert compare(a, dead).max_delta == pytest.approx(30.0 + np.log(0.5))
    assert np.isfinite(compare(a, dead).kl)


def test_fewer_known_tokens_than_asked_for_are_no_tokens() -> None:
    a, b = pair(np.log([[0.6, 0.3, 0.1]]), np.log([[0.6, 0.3, 0.1]]), k=3)
    fewer = TopLogprobs(
        chosen=b.chosen,
        tokens=np.array([[0, -1, -1]]),
        logprobs=np.array([[np.log(0.6), -np.inf, -np.inf]]),
        document=b.document,
    )
    for one, other in ((a, fewer), (fewer, a), (fewer, fewer)):
        found = compare(one, other)
        assert found.kl == pytest.approx(0.0, abs=1e-9)
        assert found.top1 == 1.0
    assert not compare(a, fewer).exact


def test_a_model_that_says_nan_is_the_same_as_none() -> None:
    a, b = pair(np.zeros((2, 3)), np.zeros((2, 3)), k=2)
    broken = TopLogprobs(
        chosen=np.array([np.nan, b.chosen[1]]),
        tokens=b.tokens,
        logprobs=b.logprobs,
        document=b.document,
    )
    found = compare(a, broken)
    assert np.isnan([found.kl, found.max_delta]).all()


def test_no_positions_say_nothing() -> None:
    empty = top(
        np.empty((0, 3)),
        k=2,
        text=np.empty(0, dtype=np.int64),
        document=np.empty(0, dtype=np.int64),
    )
    found = compare(empty, empty)
    assert found.positions == 0
    assert np.isnan([found.kl, found.top1, found.max_delta, found.cosine]).all()
    assert not found.exact
    assert by_document(empty, empty) == {}


def test_documents_are_told_apart(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(6, 8)), rng.normal(size=(6, 8))
    b[:3] = a[:3]
    document, text = np.array([4, 4, 4, 9, 9, 9]), np.zeros(6, dtype=np.int64)
    one = top(logprobs(a), k=4, text=text, document=document)
    other = top(logprobs(b), k=4, text=text, document=document)
    each = by_document(one, other)
    assert list(each) == [4, 9]
    assert each[4].kl == 0.0
    assert each[9].kl > 0.0
    assert compare(one, other).kl == pytest.approx((each[4].kl + each[9].kl) / 2)


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([0, 0, 1], "document 0 has 1 tokens in the one and 2 in the other"),
        ([0, 1, 2], "document 1 has 2 tokens in the one and 1 in the other"),
        ([1, 1, 0], "not in the same order"),
    ],
)
def test_positions_that_do_not_line_up_are_refused(documents: list[int], said: str) -> None:
    full, text = logprobs(np.zeros((3, 4))), np.zeros(3, dtype=np.int64)
    one = top(full, k=2, text=text, document=np.array([0, 1, 1]))
    other = top(full, k=2, text=text, document=np.array(documents))
    with pytest.raises(ValueError, match=said):
        compare(one, other)


def test_nothing_known_of_the_rivals_is_refused() -> None:
    a, b = pair(np.zeros((2, 3)), np.zeros((2, 3)), k=0)
    with pytest.raises(ValueError, match="at least the likeliest token"):
        compare(a, b)


@given(a=LOGITS, b=LOGITS, text=TEXT, k=st.integers(1, VOCABULARY), cut=st.integers(0, 7))
def test_texts_compared_apart_and_pooled_are_as_compared_together(
    a: np.ndarray, b: np.ndarray, text: np.ndarray, k: int, cut: int
) -> None:
    document = (np.arange(7) >= cut).astype(np.int64)
    one = top(logprobs(a), k=k, text=text, document=document)
    other = top(logprobs(b), k=k, text=text, document=document)
    whole, parts = compare(one, other), pooled(by_document(one, other).values())
    assert (parts.positions, parts.max_delta) == (7, whole.max_delta)
    assert (parts.kl, parts.top1) == pytest.approx((whole.kl, whole.top1))
    assert parts.cosine == pytest.approx(whole.cosine)
    assert parts.exact is whole.exact


def test_nothing_pooled_is_nothing() -> None:
    assert pooled([]).positions == 0
    assert np.isnan(pooled([]).kl)


@pytest.mark.parametrize(
    ("kl", "top1", "max_delta", "said"),
    [
        pytest.param(0.0002, 0.995, 0.3, [], id="bfloat16"),
        pytest.param(0.01, 0.98, 9.0, [], id="on both lines"),
        pytest.param(0.003, 0.962, 1.1, ["same top token at 96.20% < 98.00%"], id="6 bits"),
        pytest.param(0.04, 0.99, 1.0, ["KL 0.04 > 0.01"], id="sharpened"),
        pytest.param(np.nan, np.nan, np.nan, ["KL nan", "top token at nan"], id="nothing"),
    ],
)
def test_what_is_beyond_the_limits(
    kl: float, top1: float, max_delta: float, said: list[str]
) -> None:
    found = Parity(positions=9, kl=kl, top1=top1, max_delta=max_delta, cosine=0.999, exact=False)
    told = beyond(found, Limits())
    assert len(told) == len(said)
    assert all(words in one for words, one in zip(said, told, strict=True))
    assert (len(beyond(found, Limits(max_delta=0.5))) > len(told)) == (not max_delta <= 0.5)
