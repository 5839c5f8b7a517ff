"""Join an engine's answers about several texts into one array of expectations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from detectors.parity import TopLogprobs
from monitor.probes.prompt_logprobs import PromptTokens

TOP: Final = 20
"""Likeliest tokens at each position: vLLM's limit unless ``--max-logprobs`` allows more."""


def as_top_logprobs(answers: Sequence[PromptTokens | None]) -> TopLogprobs:
    """Join the answers; a text without an answer has no tokens.

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
