"""Let models read the same texts, a few at a time, and join their expectations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import numpy as np

from detectors.parity import TopLogprobs
from detectors.perplexity import DocumentScores
from monitor.probes.asking import Target

AT_ONCE: Final = 8
"""Texts between two progress reports; each text is still its own request."""


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
    return TopLogprobs(
        chosen=read.chosen,
        tokens=read.tokens,
        logprobs=read.logprobs,
        document=read.document + by,
        beside=frozenset(number + by for number in read.beside),
    )


def _padding(part: TopLogprobs, k: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, 0), (0, k - part.tokens.shape[1])
