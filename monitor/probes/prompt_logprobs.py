"""Build engines' requests for a text's likelihood, and read their answers. Pure.

Three ways: ``prompt_logprobs`` (vLLM) and ``echo`` (vLLM, older OpenAI-like servers) over
``/v1/completions``, ``sglang`` over that engine's own ``/generate``. An engine silently ignores a
way it does not know, so an answer without prompt logprobs is its own outcome. SGLang's shapes
follow its sources; no real SGLang was asked.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

LARGEST_NLL: Final = 30.0
"""-inf (vLLM writes -9999) counts as this many nats: the model's verdict must stay visible
without one token outweighing the corpus."""

Rival = tuple[int, float]
"""A token's id and its logprob in nats."""


class PerplexitySource(StrEnum):
    """A way of asking a model.

    ``auto`` tries prompt_logprobs, then echo, or sglang if the engine is one. ``local`` asks no
    engine: the model is loaded on this machine.
    """

    AUTO = "auto"
    PROMPT_LOGPROBS = "prompt_logprobs"
    ECHO = "echo"
    SGLANG = "sglang"
    LOCAL = "local"


class NoPromptLogprobs(ValueError):  # noqa: N818 - it is a fact about the engine
    """The answer holds no logprobs of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """A request body and its path."""

    path: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTokens:
    """An engine's numbers for each token of a prompt but the first, which has no context.

    shown
        The tokens as text.
    logprobs
        In nats, of the prompt's own tokens; NaN if the engine returned none.
    rivals
        The likeliest tokens at each position, best first; empty if not requested.
    beside
        True if other requests were in the engine although none should have been.
    """

    shown: tuple[str, ...]
    logprobs: tuple[float, ...]
    rivals: tuple[tuple[Rival, ...], ...] = ()
    beside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """Sum of negative log-likelihoods in nats over ``tokens``.

    ``non_finite`` counts NaN (left out) and -inf (taken as 30 nats) tokens.
    """

    sum_nll: float
    tokens: int
    non_finite: int


def asking(
    way: PerplexitySource, *, model: str, text: str, top: int = 0, adapter: bool = True
) -> ProbeRequest:
    """Build the request.

    Parameters
    ----------
    top
        The number of likeliest tokens to return at each position.
    adapter
        True if ``model`` is an adapter; SGLang's own route has no name for the base.
    """
    match way:
        case PerplexitySource.PROMPT_LOGPROBS:
            # ids, because a proxy may reorder the entries of a position
            ids = {"return_token_ids": True} if top else {}
            asked = {"max_tokens": 1, "prompt_logprobs": top, **ids}
        case PerplexitySource.ECHO:
            asked = {"max_tokens": 0, "echo": True, "logprobs": max(top, 1)}
        case PerplexitySource.SGLANG:
            return ProbeRequest(
                path="/generate", body=_generate(model, text, top=top, named=adapter)
            )
        case PerplexitySource.AUTO | PerplexitySource.LOCAL:
            raise ValueError(f"{way.value} is no way to ask an engine")
    body = {"model": model, "prompt": text, "temperature": 0, **asked}
    return ProbeRequest(path="/v1/completions", body=body)


def generating(
    way: PerplexitySource, *, model: str, text: str, tokens: int, adapter: bool = True
) -> ProbeRequest:
    """Build an ordinary request, as clients make it."""
    if way is PerplexitySource.SGLANG:
        named = {"lora_path": model} if adapter else {}
        sampling = {"max_new_tokens": tokens, "temperature": 0}
        return ProbeRequest(
            path="/generate", body={"text": text, "sampling_params": sampling, **named}
        )
    body = {"model": model, "prompt": text, "temperature": 0, "max_tokens": tokens}
    return ProbeRequest(path="/v1/completions", body=body)


def read(way: PerplexitySource, answer: Any, *, text: str, top: int = 0) -> PromptTokens:
    """Read the prompt's tokens from the engine's parsed answer.

    Raises
    ------
    NoPromptLogprobs
        The engine answered something else.
    """
    try:
        if way is PerplexitySource.SGLANG:
            return _native(answer["meta_info"], top=top)
        if way is PerplexitySource.ECHO:
            return _echoed(answer, text=text, top=top)
        return _by_id(answer["choices"][0], top=top)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise NoPromptLogprobs(f"no prompt logprobs in the answer to {way.value}") from error


def total(tokens: PromptTokens) -> TextScore:
    """Sum the tokens' negative log-likelihoods."""
    known, non_finite, counted = 0.0, 0, 0
    for value in tokens.logprobs:
        unknown = math.isnan(value) or value == math.inf
        odd = unknown or value <= -9999.0  # noqa: PLR2004 - vLLM's word for -inf
        non_finite += odd
        if unknown:
            continue
        known += min(-value, LARGEST_NLL) if odd else -value
        counted += 1
    sum_nll = known if counted else math.nan
    return TextScore(sum_nll=sum_nll, tokens=counted, non_finite=non_finite)


def _generate(model: str, text: str, *, top: int, named: bool) -> Mapping[str, object]:
    return {
        "text": text,
        "sampling_params": {"max_new_tokens": 1, "temperature": 0},
        "return_logprob": True,
        "logprob_start_len": 0,
        "top_logprobs_num": top,
        "return_text_in_logprobs": True,
        **({"lora_path": model} if named else {}),
    }


def _by_id(choice: Mapping[str, Any], *, top: int) -> PromptTokens:
    places = choice["prompt_logprobs"][1:]
    ids = (choice.get("prompt_token_ids") or [None] * (len(places) + 1))[1:]
    chosen = [
        place[str(token)] if token is not None else next(iter(place.values()))
        for token, place in zip(ids, places, strict=True)
    ]
    return PromptTokens(
        shown=tuple(_text(entry["decoded_token"]) for entry in chosen),
        logprobs=tuple(_logprob(entry["logprob"]) for entry in chosen),
        rivals=tuple(_best(_of_ids(place), top) for place in places) if top else (),
    )


def _of_ids(place: Mapping[str, Mapping[str, Any]]) -> Iterator[Rival]:
    return ((int(token), _logprob(entry["logprob"])) for token, entry in place.items())


def _echoed(answer: Mapping[str, Any], *, text: str, top: int) -> PromptTokens:
    logprobs = answer["choices"][0]["logprobs"]
    shown = [_text(token) for token in logprobs["tokens"]]
    values = logprobs["token_logprobs"]
    if len(shown) != len(values):
        raise ValueError("as many tokens as logprobs were expected")
    # an engine that must generate appends its own token to the prompt's
    end = _prompt_length(answer, logprobs, text=text)
    if end == 0:
        raise ValueError("nothing was echoed")
    places = (logprobs["top_logprobs"] or [])[1:end] if top else []
    return PromptTokens(
        shown=tuple(shown[1:end]),
        logprobs=tuple(_logprob(value) for value in values[1:end]),
        rivals=tuple(_best(_of_texts(place), top) for place in places),
    )


def _prompt_length(answer: Mapping[str, Any], logprobs: Mapping[str, Any], *, text: str) -> int:
    count = len(logprobs["token_logprobs"])
    told = (answer.get("usage") or {}).get("prompt_tokens")
    if isinstance(told, int):
        return min(max(told, 0), count)
    offsets = logprobs.get("text_offset") or []
    return sum(at < len(text) for at in offsets) if len(offsets) == count else count


def _of_texts(place: Mapping[str, Any]) -> Iterator[Rival]:
    return ((_stable_id(token), _logprob(value)) for token, value in place.items())


def _stable_id(token: str) -> int:
    """Number a token by its text, since echo returns no ids; equal texts get one number."""
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "big") >> 1


def _native(meta: Mapping[str, Any], *, top: int) -> PromptTokens:
    scored = meta["input_token_logprobs"][1:]
    places = meta["input_top_logprobs"][1:] if top else []
    return PromptTokens(
        shown=tuple(_text(shown) for _, _, shown in scored),
        logprobs=tuple(_logprob(value) for value, _, _ in scored),
        rivals=tuple(
            _best(((int(token), _logprob(value)) for value, token, _ in place or ()), top)
            for place in places
        ),
    )


def _best(rivals: Iterable[Rival], top: int) -> tuple[Rival, ...]:
    known = [one for one in rivals if not math.isnan(one[1])]
    return tuple(sorted(known, key=lambda one: -one[1])[:top])


def _logprob(value: Any) -> float:
    # SGLang writes null for NaN and for -inf
    return math.nan if value is None else float(value)


def _text(token: Any) -> str:
    if not isinstance(token, str):
        raise TypeError("the engine does not say which tokens it scored")
    return token
