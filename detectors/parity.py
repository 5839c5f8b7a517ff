"""Measure whether two models say the same, token by token, on the same texts.

Serving returns only the likeliest tokens of each position, so the divergence computed from outside
is a lower bound of the true one; see :func:`compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.checks import Check, CheckVerdict
from detectors.types import Flags, Floats

Ints = NDArray[np.int64]

PARITY: Final = "parity"
LOWEST = -30.0
"""Nats of a token of probability 0, as in :mod:`detectors.perplexity`: it stays visible
without one token outweighing all others."""
NEGLIGIBLE = 1e-6
"""Probability, and nats between two tokens, that float32 rounding alone can leave."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopLogprobs:
    """A model's expectation at each of ``P`` scored tokens of some texts.

    chosen
        ``(P,)`` logprob in nats of the token in the text.
    tokens, logprobs
        ``(P, K)`` ids and logprobs of the K likeliest tokens, best first; -1 and -inf if fewer are
        known.
    document
        ``(P,)`` index of the token's text.
    beside
        Indices of texts that a base model read while its engine had other requests; see
        :class:`detectors.perplexity.DocumentScores`.
    """

    chosen: Floats
    tokens: Ints
    logprobs: Floats
    document: Ints
    beside: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The similarity of two models over some positions; NaN without any, or if either has NaN.

    positions
        Scored tokens compared.
    kl
        Mean ``KL(a || b)`` in nats per token, >= 0; 0 is the same. A lower bound of the
        true mean unless ``exact``.
    top1
        Share of positions, 0 to 1, at which both find the same token likeliest.
    max_delta
        Largest difference of a logprob in nats, over the tokens of the text and the
        likeliest tokens that both name.
    cosine
        Mean cosine of the two probability vectors, 0 to 1. Shown because people ask for
        it; decide nothing by it: .99 passes pairs of which 78 % agree on the top token.
    exact
        True if ``kl`` is the divergence of the whole distributions.
    """

    positions: int
    kl: float
    top1: float
    max_delta: float
    cosine: float
    exact: bool


_NOTHING: Final = Parity(
    positions=0, kl=np.nan, top1=np.nan, max_delta=np.nan, cosine=np.nan, exact=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest differences at which two models still count as the same.

    The defaults pass other arithmetic and refuse other weights. A demo adapter on 100
    texts against its float32 self: bfloat16, merged or not, KL .0002 and top-1 99.5 %;
    8 bits .0002 and 99.0 %; 6 bits .003 and 96.2 %; 4 bits in groups of 32 .04 and 86 %;
    its next version .47 and 49 %. At 4 bits the prompts' cosine was still .99.

    ``max_delta`` None asks nothing: the largest of 100,000 differences lies in the tails
    (.3 nats for bfloat16).
    """

    max_kl: float = 0.01
    min_top1: float = 0.98
    max_delta: float | None = None

    @property
    def problems(self) -> list[str]:
        """List the limits that nothing could meet, each with its key."""
        found = [] if self.max_kl >= 0 else ["max_kl: must not be negative"]
        if not 0 <= self.min_top1 <= 1:
            found.append("min_top1: must be from 0 to 1")
        if self.max_delta is not None and self.max_delta < 0:
            found.append("max_delta: must not be negative")
        return found


def beyond(parity: Parity, limits: Limits) -> tuple[str, ...]:
    """List the exceeded limits, with numbers; empty if the two are the same.

    NaN exceeds every limit.
    """
    said = []
    if not parity.kl <= limits.max_kl:
        said.append(f"KL {parity.kl:.4g} > {limits.max_kl:g} nats per token")
    if not parity.top1 >= limits.min_top1:
        said.append(f"same top token at {parity.top1:.2%} < {limits.min_top1:.2%} of positions")
    if limits.max_delta is not None and not parity.max_delta <= limits.max_delta:
        said.append(f"largest difference {parity.max_delta:.3g} > {limits.max_delta:g} nats")
    return tuple(said)


def parity_check(found: Parity, limits: Limits, *, like: str) -> Check:
    """Ask whether two builds of one adapter say the same: a merge, or fewer bits."""
    return Check(
        name=PARITY,
        number=found.kl,
        limit=limit_words(limits),
        verdict=CheckVerdict.REFUSE if beyond(found, limits) else CheckVerdict.PASS,
        reason=(
            f"{found.kl:.4g} nats per token from {like}, the same top token at {found.top1:.2%} of"
            f" {found.positions:,} positions"
        ),
        details={"top1": found.top1, "max_delta": found.max_delta, "positions": found.positions},
    )


def limit_words(limits: Limits) -> str:
    """Write the limits."""
    said = f"<= {limits.max_kl:g} nats per token; same top token at >= {limits.min_top1:.0%}"
    return (
        said if limits.max_delta is None else f"{said}; no difference > {limits.max_delta:g} nats"
    )


def compare(a: TopLogprobs, b: TopLogprobs) -> Parity:
    r"""Measure how far the expectations of ``a`` and ``b`` differ; 0 is the same.

    Per position both distributions are coarsened to the tokens that both name and one
    bucket for all others; by the data-processing inequality the divergence of the coarser
    ones is at most that of the whole ones, so

    .. math:: 0 \le \sum_i p_i \log(p_i / q_i) - p_i + q_i \le KL(a \| b)

    (the last two terms cancel for distributions that sum to 1 and keep each term
    non-negative for those that rounding made a little larger). The token of the text is a
    bucket of its own where it is not among the likeliest. With the 20 likeliest tokens of
    a trained model little is lost: they hold most of the probability.

    Cost: one sort of ``P * K`` ids.

    Raises
    ------
    ValueError
        The positions do not line up; the message names the first document that differs.
        Or no likeliest tokens are known at all.

    Notes
    -----
    T. Cover, J. Thomas, *Elements of Information Theory*, 2nd ed., 2.8 and 2.7 (log sum
    inequality).
    """
    return _summary(_positions(a, b), np.ones(a.chosen.size, dtype=np.bool_))


def by_document(a: TopLogprobs, b: TopLogprobs) -> Mapping[int, Parity]:
    """Compare text by text, so that the worst can be named; raises as :func:`compare`."""
    each = _positions(a, b)
    return {int(index): _summary(each, a.document == index) for index in np.unique(a.document)}


def pooled(parts: Iterable[Parity]) -> Parity:
    """Combine comparisons of different texts, each position counting once."""
    known = [part for part in parts if part.positions]
    count = sum(part.positions for part in known)
    if count == 0:
        return _NOTHING

    def mean(value: Callable[[Parity], float]) -> float:
        return sum(value(part) * part.positions for part in known) / count

    return Parity(
        positions=count,
        kl=mean(lambda part: part.kl),
        top1=mean(lambda part: part.top1),
        max_delta=float(np.max([part.max_delta for part in known])),
        cosine=mean(lambda part: part.cosine),
        exact=all(part.exact for part in known),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Positions:
    """``(P,)`` each: the terms that :class:`Parity` averages, and the remaining probability."""

    kl: Floats
    agree: Flags
    delta: Floats
    cosine: Floats
    beyond: Floats


def _summary(each: _Positions, wanted: Flags) -> Parity:
    count = int(wanted.sum())
    if count == 0:
        return _NOTHING
    return Parity(
        positions=count,
        kl=float(each.kl[wanted].mean()),
        top1=float(each.agree[wanted].mean()),
        max_delta=float(each.delta[wanted].max()),
        cosine=float(each.cosine[wanted].mean()),
        exact=bool((each.beyond[wanted] <= NEGLIGIBLE).all()),
    )


def _positions(a: TopLogprobs, b: TopLogprobs) -> _Positions:
    _require_same_positions(a.document, b.document)
    if 0 in (a.tokens.shape[1], b.tokens.shape[1]):
        raise ValueError("at least the likeliest token of each position must be known")
    top_a, top_b = _clipped(a.logprobs), _clipped(b.logprobs)
    chosen_a, chosen_b = _clipped(a.chosen), _clipped(b.chosen)
    place, shared = _find(a.tokens, b.tokens)
    there = np.take_along_axis(top_b, place, axis=1)
    apart = _outside(a, chosen_a) | _outside(b, chosen_b)
    p = np.column_stack([np.where(shared, np.exp(top_a), 0.0), np.exp(chosen_a) * apart])
    q = np.column_stack([np.where(shared, np.exp(there), 0.0), np.exp(chosen_b) * apart])
    rest_p, rest_q = _rest(p), _rest(q)
    gap = np.column_stack([np.where(shared, top_a - there, 0.0), chosen_a - chosen_b])
    named = (p * gap - p + q).sum(axis=1)
    return _Positions(
        # rounding alone brings equal distributions below 0
        kl=np.maximum(0.0, named + rest_p * np.log(rest_p / rest_q) - rest_p + rest_q),
        agree=_same_top(a, b, place, shared=shared),
        delta=np.abs(gap).max(axis=1),
        cosine=_cosine(top_a, top_b, np.where(shared, np.exp(there), 0.0)),
        beyond=np.maximum(rest_p, rest_q),
    )


def _clipped(logprobs: Floats) -> Floats:
    return np.clip(np.asarray(logprobs, dtype=np.float64), LOWEST, 0.0)


def _rest(named: Floats) -> Floats:
    return np.asarray(np.maximum(1.0 - named.sum(axis=1), NEGLIGIBLE))


def _outside(model: TopLogprobs, chosen: Floats) -> Flags:
    """True where the text's token is surely not among the likeliest, so that it stands apart."""
    known = model.tokens >= 0
    return np.asarray(chosen < np.where(known, _clipped(model.logprobs), 0.0).min(axis=1))


def _find(tokens: Ints, among: Ints) -> tuple[Ints, Flags]:
    """Return each token's index in the other's row, and whether it is there; ``(P, K)`` both."""
    rows, columns = among.shape
    span = int(max(tokens.max(initial=0), among.max(initial=0))) + 2
    offset = np.arange(rows, dtype=np.int64)[:, None] * span
    keys = (among + 1 + offset).ravel()
    order = np.argsort(keys, kind="stable")
    wanted = tokens + 1 + offset
    at = order[np.searchsorted(keys, wanted, sorter=order).clip(max=keys.size - 1)]
    found = (keys[at] == wanted) & (tokens >= 0)
    return np.where(found, at % columns, 0), found


def _same_top(a: TopLogprobs, b: TopLogprobs, place: Ints, *, shared: Flags) -> Flags:
    """True where both models share a likeliest token; half precision often ties several."""
    best_in_b = np.take_along_axis(_is_best(b), place, axis=1)
    return np.asarray((_is_best(a) & best_in_b & shared).any(axis=1))


def _is_best(model: TopLogprobs) -> Flags:
    top = model.logprobs.max(axis=1, keepdims=True)
    return np.asarray((model.logprobs >= top - NEGLIGIBLE) & (model.tokens >= 0))


def _cosine(top_a: Floats, top_b: Floats, b_where_a: Floats) -> Floats:
    lengths = np.linalg.norm(np.exp(top_a), axis=1) * np.linalg.norm(np.exp(top_b), axis=1)
    return np.asarray((np.exp(top_a) * b_where_a).sum(axis=1) / lengths)


def _require_same_positions(a: Ints, b: Ints) -> None:
    if np.array_equal(a, b):
        return
    for index in np.union1d(a, b):
        here, there = int((a == index).sum()), int((b == index).sum())
        if here != there:
            raise ValueError(
                f"document {index} has {here} tokens in the one and {there} in the other:"
                " another tokenizer, another template, or read by only one of the two"
            )
    raise ValueError("the same documents, but not in the same order")
