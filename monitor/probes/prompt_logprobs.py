"""What engines answer when asked how likely a given text is. Pure.

Two ways over ``/v1/completions``: ``prompt_logprobs`` (vLLM) and ``echo`` (vLLM, older
OpenAI-like servers). An engine that does not know a way ignores it in silence, so an
answer without prompt logprobs is an outcome of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, assert_never

LARGEST_NLL: Final = 30.0
"""-inf (vLLM writes -9999) counts as this many nats: the model's verdict must stay visible
without one token outweighing the corpus."""


class PerplexitySource(StrEnum):
    """How the engine is asked; ``auto`` tries prompt_logprobs, then echo."""

    AUTO = "auto"
    PROMPT_LOGPROBS = "prompt_logprobs"
    ECHO = "echo"


class NoPromptLogprobs(ValueError):  # noqa: N818 - it is a fact about the engine
    """The answer holds no logprobs of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """Sum of negative log-likelihoods in nats over ``tokens``.

    ``non_finite`` counts NaN (left out) and -inf (taken as 30 nats) tokens. The first
    token has no condition and counts nowhere.
    """

    sum_nll: float
    tokens: int
    non_finite: int


def asking(source: PerplexitySource, *, model: str, text: str) -> dict[str, object]:
    """Build the body of the request."""
    body: dict[str, object] = {"model": model, "prompt": text, "temperature": 0}
    match source:
        case PerplexitySource.PROMPT_LOGPROBS | PerplexitySource.AUTO:
            return body | {"max_tokens": 1, "prompt_logprobs": 0}
        case PerplexitySource.ECHO:
            return body | {"max_tokens": 0, "echo": True, "logprobs": 1}
        case _:
            assert_never(source)


def read(source: PerplexitySource, answer: Any, *, text: str) -> TextScore:
    """Score a text from the engine's parsed answer.

    Raises
    ------
    NoPromptLogprobs
        The engine answered something else.
    """
    try:
        choice = answer["choices"][0]
        if source is PerplexitySource.ECHO:
            return _total(_echoed(choice["logprobs"], text))
        return _total(_chosen(entry) for entry in choice["prompt_logprobs"][1:])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise NoPromptLogprobs(f"no prompt logprobs in the answer to {source.value}") from error


def _chosen(entry: dict[str, dict[str, float]]) -> float:
    # with prompt_logprobs 0 the prompt's own token is the only entry
    [only] = entry.values()
    return float(only["logprob"])


def _echoed(logprobs: dict[str, Any], text: str) -> list[float]:
    values = logprobs["token_logprobs"]
    offsets = logprobs.get("text_offset") or [0] * len(values)
    # an engine that insists on generating appends its own token after the prompt
    prompt = [value for value, at in zip(values, offsets, strict=True) if at < len(text)]
    if not prompt:
        raise ValueError("nothing was echoed")
    return [float(value) for value in prompt[1:]]


def _total(logprobs: Iterable[float]) -> TextScore:
    known, non_finite, tokens = 0.0, 0, 0
    for value in logprobs:
        unknown = math.isnan(value) or value == math.inf
        odd = unknown or value <= -9999.0  # noqa: PLR2004 - vLLM's word for -inf
        non_finite += odd
        if unknown:
            continue
        known += min(-value, LARGEST_NLL) if odd else -value
        tokens += 1
    return TextScore(sum_nll=known if tokens else math.nan, tokens=tokens, non_finite=non_finite)
