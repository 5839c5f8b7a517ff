"""Answer a batch of requests together: one pass over the prompts, then token by token."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import torch
from transformers import DynamicCache, PreTrainedModel

_LOWEST: Final = -9999.0  # JSON has no infinity; vLLM sends this number


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw tokens, and what to report of them."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_logprobs: int = 0
    prompt_logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token with its log probability (nats, of the raw softmax) and its best rivals."""

    id: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """One request as the model thread sees it.

    Attributes
    ----------
    on_prompt
        Called once with the prompt's tokens from the second on, if asked for.
    on_token
        Called with each new token; answers False when it was the last.
    """

    ids: Sequence[int]
    sampling: Sampling
    on_prompt: Callable[[list[Token]], None]
    on_token: Callable[[Token], bool]
    random: Random = field(default_factory=Random)


@torch.inference_mode()
def answer_together(model: PreTrainedModel, asks: Sequence[Ask]) -> None:
    """Score and continue prompts with one model, reporting through each ask's callbacks.

    Rows that have ended leave the batch, so that one long answer does not keep
    the short ones' work alive.
    """
    cache = DynamicCache()
    ids, mask = _left_padded(asks)
    scoring = any(ask.sampling.prompt_logprobs is not None for ask in asks)
    logits = _forward(model, ids, mask=mask, cache=cache, keep=0 if scoring else 1)
    if scoring:
        _report_prompts(asks, ids, logits=logits)
    rows = list(asks)
    keep = [index for index, ask in enumerate(rows) if ask.sampling.max_tokens > 0]
    logits = logits[:, -1]
    while keep:
        if len(keep) < len(rows):
            rows = [rows[k] for k in keep]
            mask, logits = mask[keep], logits[keep]
            cache.batch_select_indices(torch.tensor(keep))
        tokens = _draw(rows, logits)
        goes_on = [ask.on_token(token) for ask, token in zip(rows, tokens, strict=True)]
        keep = [index for index, more in enumerate(goes_on) if more]
        if keep:
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            step = torch.tensor([[token.id] for token in tokens])
            logits = _forward(model, step, mask=mask, cache=cache, keep=1)[:, -1]


def _left_padded(asks: Sequence[Ask]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(ask.ids) for ask in asks)
    ids = torch.zeros(len(asks), width, dtype=torch.long)
    mask = torch.zeros(len(asks), width, dtype=torch.long)
    for row, ask in enumerate(asks):
        ids[row, width - len(ask.ids) :] = torch.tensor(ask.ids)
        mask[row, width - len(ask.ids) :] = 1
    return ids, mask


def _forward(
    model: PreTrainedModel,
    ids: torch.Tensor,
    *,
    mask: torch.Tensor,
    cache: DynamicCache,
    keep: int,
) -> torch.Tensor:
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    logits: torch.Tensor = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        use_cache=True,
        logits_to_keep=keep,
        **{_cache_name(model): cache},
    ).logits
    return logits


def _cache_name(model: PreTrainedModel) -> str:
    # Renamed in transformers 5; newer ones warn of the old name, older ones lack the new.
    known = inspect.signature(model.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def _report_prompts(asks: Sequence[Ask], ids: torch.Tensor, *, logits: torch.Tensor) -> None:
    for row, ask in enumerate(asks):
        wanted = ask.sampling.prompt_logprobs
        if wanted is not None:
            tail = slice(ids.shape[1] - len(ask.ids), None)
            logprobs = torch.log_softmax(logits[row, tail][:-1], dim=-1)
            ask.on_prompt(_tokens(logprobs, ids[row, tail][1:], tops=[wanted] * len(logprobs)))


def _draw(asks: Sequence[Ask], logits: torch.Tensor) -> list[Token]:
    chosen = _sample(asks, logits)
    logprobs = torch.log_softmax(logits, dim=-1)
    return _tokens(logprobs, chosen, tops=[ask.sampling.top_logprobs for ask in asks])


def _sample(asks: Sequence[Ask], logits: torch.Tensor) -> torch.Tensor:
    """Draw one token per row by inverse distribution function; temperature 0 takes the best."""
    temperatures = torch.tensor([[ask.sampling.temperature] for ask in asks])
    top_ps = torch.tensor([[ask.sampling.top_p] for ask in asks])
    uniform = torch.tensor([[ask.random.random()] for ask in asks])
    ordered, order = logits.sort(dim=-1, descending=True)
    weights = torch.softmax(ordered / temperatures.clamp(min=1e-5), dim=-1)
    cumulative = weights.cumsum(dim=-1)
    weights = weights * (cumulative - weights < top_ps)
    cumulative = weights.cumsum(dim=-1)
    position = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    position = position.clamp(max=logits.shape[-1] - 1) * (temperatures > 0)
    return order.gather(1, position).squeeze(1)


def _tokens(logprobs: torch.Tensor, chosen: torch.Tensor, *, tops: Sequence[int]) -> list[Token]:
    values = logprobs.gather(1, chosen[:, None])
    ranks = (logprobs > values).sum(dim=1) + 1
    best = logprobs.topk(max(tops, default=0), dim=1)
    rivals, ids = best.values.tolist(), best.indices.tolist()
    return [
        Token(
            id=token,
            logprob=max(value, _LOWEST),
            rank=rank,
            top=tuple(
                (i, max(v, _LOWEST)) for i, v in zip(ids[n][:top], rivals[n][:top], strict=True)
            ),
        )
        for n, (token, value, rank, top) in enumerate(
            zip(chosen.tolist(), values[:, 0].tolist(), ranks.tolist(), tops, strict=True)
        )
    ]
