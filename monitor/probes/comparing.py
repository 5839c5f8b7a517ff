"""Let models read the same texts, a few at a time, and join what they expect of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from detectors.parity import TopLogprobs
from detectors.perplexity import DocumentScores
from monitor.probes.asking import Target
from monitor.probes.prompt_logprobs import PromptTokens

AT_ONCE: Final = 8
"""Texts between two progress reports; each text is still its own request."""
TOP: Final = 20
"""Likeliest tokens at each position: vLLM's limit unless ``--max-logprobs`` allows more."""


class Reads(Protocol):
    """The part of :class:`monitor.probes.asking.ModelProbe` that is needed here."""

    def read(self, target: Target, texts: Sequence[str]) -> TopLogprobs: ...


def read_all(
    probe: Reads, target: Target, texts: Sequence[str], *, tick: Callable[[int], None]
) -> TopLogprobs:
    """Read every text; ``tick`` gets the number of texts just done. Raises ProbeError."""
    parts = []
    for start in range(0, len(texts), AT_ONCE):
        some = texts[start : start + AT_ONCE]
        parts.append(_moved(probe.read(target, some), by=start))
        tick(len(some))
    return joined(parts)


def joined(parts: Iterable[TopLogprobs]) -> TopLogprobs:
    """Join readings in order; those with fewer rivals are padded."""
    parts = list(parts)
    k = max(part.tokens.shape[1] for part in parts)
    return TopLogprobs(
        chosen=np.concatenate([part.chosen for part in parts]),
        tokens=np.concatenate(
            [np.pad(part.tokens, _padding(part, k), constant_values=-1) for part in parts]
        ),
        logprobs=np.concatenate(
            [np.pad(part.logprobs, _padding(part, k), constant_values=-np.inf) for part in parts]
        ),
        document=np.concatenate([part.document for part in parts]),
        beside=frozenset().union(*(part.beside for part in parts)),
    )


def as_top_logprobs(answers: Sequence[PromptTokens | None]) -> TopLogprobs:
    """Join an engine's answers about several texts; a text without an answer has no tokens.

    Every scored token is included, so that two models' arrays align; NaN if the engine returned no
    logprob.
    """
    count = sum(len(answer.logprobs) for answer in answers if answer is not None)
    chosen, document = np.empty(count), np.empty(count, dtype=np.int64)
    tokens = np.full((count, TOP), -1, dtype=np.int64)
    logprobs = np.full((count, TOP), -np.inf)
    row = 0
    for number, answer in enumerate(answers):
        if answer is None:
            continue
        end = row + len(answer.logprobs)
        chosen[row:end], document[row:end] = answer.logprobs, number
        for place, rivals in enumerate(answer.rivals[: end - row], start=row):
            best = rivals[:TOP]
            tokens[place, : len(best)] = [token for token, _ in best]
            logprobs[place, : len(best)] = [value for _, value in best]
        row = end
    beside = (n for n, answer in enumerate(answers) if answer is not None and answer.beside)
    return TopLogprobs(
        chosen=chosen,
        tokens=tokens,
        logprobs=logprobs,
        document=document,
        beside=frozenset(beside),
    )


def document_scores(read: TopLogprobs, texts: Sequence[str]) -> DocumentScores:
    """Sum a reading text by text; NaN for a text of which nothing was read."""
    tokens = np.bincount(read.document, minlength=len(texts)).astype(np.float64)
    sums = np.bincount(read.document, weights=-read.chosen, minlength=len(texts))
    return DocumentScores(
        sum_nll=np.where(tokens > 0, sums, np.nan),
        tokens=tokens,
        size_bytes=np.array([len(text.encode()) for text in texts], dtype=np.float64),
        beside=np.array([number in read.beside for number in range(len(texts))], dtype=np.bool_),
    )


def _moved(read: TopLogprobs, *, by: int) -> TopLogprobs:
    beside = frozenset(number + by for number in read.beside)
    return replace(read, document=read.document + by, beside=beside)


def _padding(part: TopLogprobs, k: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, 0), (0, k - part.tokens.shape[1])
