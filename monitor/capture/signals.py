"""Measure each record: pure functions of its tokens and its text.

Token signals are aggregates over **all** tokens of an answer; the stored arrays hold the first 256.
A signal is NaN if it was not measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.capture.checks import Tokens

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

CLIP: Final = 30.0
"""Nats: the NLL of a token of probability zero, so that one token cannot drown the rest."""
NEAR_CERTAIN: Final = 0.01
"""NLL below which a token counts as near-certain: probability above .99."""
MIN_TOKENS: Final = 4
"""Finite tokens below which a measured record is ``missing``."""
KEPT_TOKENS: Final = 256


def token_signals(answers: Sequence[Tokens]) -> Mapping[str, Floats]:
    """Aggregate the tokens of ``n`` measured answers; each result is ``(n,)``.

    ``sum_nll``, ``mean_nll`` and ``p95_nll`` (linear interpolation between order
    statistics) are in nats, ``near_certain`` and ``missing`` shares and flags in [0, 1],
    ``entropy`` and ``margin`` means over the tokens that have them, in nats.
    Log-probabilities are clipped at -30; NaN and +inf are dropped and counted in
    ``non_finite``. With fewer than 4 finite tokens the answer is ``missing`` and its
    aggregates are NaN. Cost: about 4 microseconds per answer of 200 tokens.
    """
    lengths = np.array([answer.logprob.size for answer in answers])
    flat = _concatenate([answer.logprob for answer in answers])
    with np.errstate(invalid="ignore"):
        nll = np.clip(-flat, None, CLIP)
        finite = nll > -CLIP  # False for NaN and for +inf, which became -inf
    nll = np.where(finite, np.maximum(nll, 0.0), 0.0)
    count = _sums(finite, lengths)
    missing = count < MIN_TOKENS
    enough = np.where(missing, np.nan, count)
    total = np.where(missing, np.nan, _sums(nll, lengths))
    return {
        "sum_nll": total,
        "mean_nll": total / enough,
        "p95_nll": np.where(missing, np.nan, _p95(nll, finite, lengths)),
        "near_certain": _sums(finite & (nll < NEAR_CERTAIN), lengths) / enough,
        "entropy": _means([answer.entropy for answer in answers]),
        "margin": _means([answer.margin for answer in answers]),
        "non_finite": lengths - count,
        "missing": missing.astype(np.float64),
    }


class Kept(NamedTuple):
    """An answer's first 256 tokens as little-endian float16."""

    nll: bytes
    entropy: bytes | None
    margin: bytes | None


def kept_arrays(answers: Sequence[Tokens]) -> list[Kept]:
    """Return NLL (clipped at 30), entropy and margin of the first 256 tokens of each answer."""
    with np.errstate(invalid="ignore"):
        nll = [np.clip(-_concatenate([one.logprob for one in answers]), -CLIP, CLIP)]
    columns = (
        _halves([one.logprob.size for one in answers], nll),
        _halves_of([one.entropy for one in answers]),
        _halves_of([one.margin for one in answers]),
    )
    return [
        Kept(first or b"", entropy, margin) for first, entropy, margin in zip(*columns, strict=True)
    ]


def _halves_of(arrays: Sequence[Floats32 | None]) -> list[bytes | None]:
    present = [values for values in arrays if values is not None]
    sizes = [None if values is None else values.size for values in arrays]
    return _halves(sizes, present)


def _halves(
    sizes: Sequence[int | None], arrays: Sequence[npt.NDArray[np.floating]]
) -> list[bytes | None]:
    """Convert all arrays at once, then cut the bytes at the end of each."""
    whole = np.concatenate(arrays).astype("<f2").tobytes() if arrays else b""
    cut: list[bytes | None] = []
    start = 0
    for size in sizes:
        cut.append(None if size is None else whole[start : start + 2 * min(size, KEPT_TOKENS)])
        start += 2 * (size or 0)
    return cut


class TextSignals(NamedTuple):
    """Measures of repetition in an answer; see :func:`text_signals`."""

    rep_4gram: float
    compression: float
    loop: float


_LOOP_SHARE: Final = 0.5
_LOOP_WORDS: Final = 16
_TAILS: Final = (48, 96)
_COMPRESSED: Final = 16_384
_COMPRESSIBLE: Final = 32


def text_signals(text: str) -> TextSignals:
    """Measure repetition in an answer.

    rep_4gram
        Share of word 4-grams that occurred before, in [0, 1); 0 below four words.
    compression
        Bytes over DEFLATE-compressed bytes (first 16 KiB, 4 KiB window): about 1.5 for
        prose of a paragraph, above 4 for loops; NaN below 32 bytes.
    loop
        1 when half of the 4-grams of at least 16 words are repeats, or when the text ends
        in one stretch over and over, which also catches scripts without spaces: the last 48
        characters repeat with a period of at most 16, or the last 96 of at most 32; else 0.
    """
    words = text.split()
    repeated = _rep_4gram(words)
    looping = (len(words) >= _LOOP_WORDS and repeated >= _LOOP_SHARE) or _ends_in_a_loop(text)
    return TextSignals(repeated, _compression(text), float(looping))


def _rep_4gram(words: Sequence[str]) -> float:
    total = len(words) - 3
    if total < 1:
        return 0.0
    return 1.0 - len(set(zip(words, words[1:], words[2:], words[3:], strict=False))) / total


def _compression(text: str) -> float:
    raw = text.encode("utf-8", "replace")[:_COMPRESSED]
    if len(raw) < _COMPRESSIBLE:
        return float("nan")
    # a small window and table: setting up zlib's usual 256 KiB costs six times the work itself
    deflate = zlib.compressobj(1, zlib.DEFLATED, -12, 5)
    return len(raw) / (len(deflate.compress(raw)) + len(deflate.flush()))


def _ends_in_a_loop(text: str) -> bool:
    text = text.rstrip()
    return any(len(text) >= length and _is_periodic(text[-length:]) for length in _TAILS)


def _is_periodic(tail: str) -> bool:
    """True if repeating a stretch of at most a third of the text gives all of it."""
    third = len(tail) // 3
    # the last third occurs once more before the end, exactly one period earlier
    before = tail.rfind(tail[-third:], 0, len(tail) - 1)
    period = len(tail) - third - before
    return before >= 0 and period <= third and tail[period:] == tail[:-period]


def _concatenate(arrays: Sequence[Floats32]) -> Floats:
    if not arrays:
        return np.empty(0)
    return np.concatenate(arrays).astype(np.float64)


def _sums(values: npt.NDArray[np.generic], lengths: npt.NDArray[np.int64]) -> Floats:
    """Sum each answer's stretch of the flat array; an empty stretch is 0."""
    totals = np.zeros(lengths.size)
    some = lengths > 0
    if some.any():
        starts = (np.cumsum(lengths) - lengths)[some]
        totals[some] = np.add.reduceat(values, starts, dtype=np.float64)
    return totals


def _means(arrays: Sequence[Floats32 | None]) -> Floats:
    present = [place for place, values in enumerate(arrays) if values is not None]
    means = np.full(len(arrays), np.nan)
    if not present:
        return means
    chosen = [values for values in arrays if values is not None]
    lengths = np.array([values.size for values in chosen])
    flat = _concatenate(chosen)
    finite = np.isfinite(flat)
    count = _sums(finite, lengths)
    total = _sums(np.where(finite, flat, 0.0), lengths)
    means[present] = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    return means


_BLOCK: Final = 64


def _p95(nll: Floats, finite: npt.NDArray[np.bool_], lengths: npt.NDArray[np.int64]) -> Floats:
    """Sort padded blocks of answers of like length: one call for many, little padding."""
    result = np.full(lengths.size, np.nan)
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(lengths, kind="stable")
    padded = np.where(finite, nll, np.inf).astype(np.float32)
    for first in range(0, order.size, _BLOCK):
        rows = order[first : first + _BLOCK]
        width = int(lengths[rows].max(initial=0))
        if width == 0:
            continue
        offset = np.arange(width)
        inside = offset < lengths[rows, None]
        place = np.where(inside, starts[rows, None] + offset, 0)
        block = np.sort(np.where(inside, padded[place], np.float32(np.inf)), axis=1)
        count = np.isfinite(block).sum(axis=1)
        result[rows] = _at_quantile(block, count)
    return result


def _at_quantile(block: Floats32, count: npt.NDArray[np.int64]) -> Floats:
    position = 0.95 * np.maximum(count - 1, 0)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    row = np.arange(count.size)
    below, above = block[row, low].astype(np.float64), block[row, high].astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, below + (above - below) * (position - low), np.nan)
