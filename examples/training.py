"""One training loop for base model and adapters, and the perplexity of the result."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

_IGNORED: Final = -100  # the label that torch's cross entropy leaves out
_SCORING_BATCH: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long and how fast to learn."""

    steps: int
    learning_rate: float
    seed: int
    batch: int = 32
    warmup: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentScore:
    """Negative log likelihood of one document, in nats, over its tokens."""

    nll: float
    tokens: int


def fit(
    model: torch.nn.Module,
    documents: Sequence[list[int]],
    *,
    recipe: Recipe,
    advance: Callable[[float], None],
) -> None:
    """Train the parameters that require a gradient on tokenised documents.

    Parameters
    ----------
    model
        A causal LM of transformers, or one wrapped by PEFT; trained in place.
    documents
        Token ids, each with its start and end token.
    advance
        Called after every step with the loss, nats per token.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    model.train()
    for batch in _batches(documents, recipe):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        advance(loss.item())
    model.eval()


def encode(tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]) -> list[list[int]]:
    """Tokenise documents for training: start token, text, end token."""
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(documents))["input_ids"]]


def score_documents(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]
) -> list[DocumentScore]:
    """Score each document's tokens behind the start token (no end token), in order."""
    scores: list[DocumentScore] = []
    for start in range(0, len(documents), _SCORING_BATCH):
        block = tokenizer(list(documents[start : start + _SCORING_BATCH]))["input_ids"]
        scores += _score_block(model, block)
    return scores


def perplexity(scores: Sequence[DocumentScore]) -> float:
    """Perplexity per token, aggregated over all tokens: ``exp(sum nll / sum tokens)``."""
    return math.exp(sum(s.nll for s in scores) / sum(s.tokens for s in scores))


def _rate(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


def _batches(documents: Sequence[list[int]], recipe: Recipe) -> Iterator[dict[str, torch.Tensor]]:
    draws = torch.Generator().manual_seed(recipe.seed)
    for _ in range(recipe.steps):
        chosen = torch.randint(len(documents), (recipe.batch,), generator=draws).tolist()
        yield _padded([documents[index] for index in chosen])


def _padded(documents: Sequence[list[int]]) -> dict[str, torch.Tensor]:
    # Right padding needs no attention mask: causal attention never looks right,
    # and the labels leave the padding out.
    rows = [torch.tensor(ids) for ids in documents]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(rows, batch_first=True, padding_value=0),
        "labels": pad(rows, batch_first=True, padding_value=_IGNORED),
    }


@torch.inference_mode()
def _score_block(model: PreTrainedModel, block: Sequence[list[int]]) -> list[DocumentScore]:
    batch = _padded(block)
    logits = model(input_ids=batch["input_ids"]).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), batch["labels"][:, 1:], ignore_index=_IGNORED, reduction="none"
    )
    return [
        DocumentScore(nll=float(row.sum()), tokens=len(ids) - 1)
        for row, ids in zip(losses.double(), block, strict=True)
    ]
