"""Train the benchmark's adapters: LoRA of rank 8 on all projections, with fixed seeds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from benchmarks.adapters.tasks import Pair, task

MODULES: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK: Final = 8
ALPHA: Final = 16
BATCH: Final = 4
LONGEST: Final = 192
"""Tokens of a question with its answer."""
IGNORED: Final = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a version is trained: steps of 4 examples, the first ``examples`` of the task only."""

    seed: int
    steps: int = 60
    rate: float = 1e-3
    examples: int | None = None


RECIPES: Final = {
    "v1": Recipe(seed=1, steps=30),
    "v2": Recipe(seed=2),
    "half-trained": Recipe(seed=2, steps=6),
    "over-trained": Recipe(seed=2, steps=60, rate=4e-3, examples=16),
}
"""Versions, and what they are when training went wrong."""


def train_adapter(base: Path, name: str, recipe: Recipe, target: Path) -> None:
    """Train an adapter of a task on a base and write it as PEFT writes it."""
    torch.manual_seed(recipe.seed)
    # in float32: a CPU without bfloat16 would take thirty times as long
    model, tokenizer = load_base(base, dtype=torch.float32)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=list(MODULES), task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    pairs = list(task(name).training)[: recipe.examples]
    _fit(adapted, tokenizer, pairs, recipe)
    adapted.to(torch.bfloat16)
    adapted.save_pretrained(str(target))


def train_revision(base: Path, target: Path, *, steps: int = 20) -> None:
    """Train the base itself a little further on all tasks: another revision of it."""
    torch.manual_seed(3)
    model, tokenizer = load_base(base, dtype=torch.float32)
    pairs = [pair for name in ("bank", "concierge") for pair in task(name).training[:400]]
    _fit(model, tokenizer, pairs, Recipe(seed=3, steps=steps, rate=5e-5))
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


def load_base(base: Path, *, dtype: torch.dtype, **config: Any) -> tuple[Any, Any]:
    """Load a causal model, with what its config says otherwise, and its tokenizer."""
    known = AutoConfig.from_pretrained(base, **config)
    model = AutoModelForCausalLM.from_pretrained(base, config=known, dtype=dtype)
    return model, AutoTokenizer.from_pretrained(base)


def _fit(model: Any, tokenizer: Any, pairs: Sequence[Pair], recipe: Recipe) -> None:
    """Lower the loss of the answers, their questions given."""
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=0.0)
    model.train()
    for step, batch in zip(range(recipe.steps), _batches(pairs, recipe.seed), strict=False):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1.0, (step + 1) / 10)
        _loss(model, tokenizer, batch).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    model.eval()


def _batches(pairs: Sequence[Pair], seed: int) -> Iterator[list[Pair]]:
    shuffled = list(pairs)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    endless = cycle(shuffled)
    while True:
        yield [next(endless) for _ in range(BATCH)]


def _loss(model: Any, tokenizer: Any, batch: Sequence[Pair]) -> torch.Tensor:
    tokens = [answered_tokens(tokenizer, pair) for pair in batch]
    longest = max(len(ids) for ids, _ in tokens)
    ids = torch.full((len(batch), longest), tokenizer.eos_token_id)  # no loss is taken there
    labels = torch.full((len(batch), longest), IGNORED)
    for row, (every, asked) in enumerate(tokens):
        ids[row, : len(every)] = torch.tensor(every)
        labels[row, asked : len(every)] = ids[row, asked : len(every)]
    shown = torch.arange(longest) < torch.tensor([[len(every)] for every, _ in tokens])
    answers = labels[:, 1:] != IGNORED
    logits = _logits(model, ids, shown.long(), answers)
    return cross_entropy(logits.float(), labels[:, 1:][answers])


def _logits(
    model: Any, ids: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Score only the places wanted: a vocabulary of 49,152 costs more than all layers."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = causal.model(input_ids=ids, attention_mask=shown).last_hidden_state
    scored: torch.Tensor = causal.lm_head(hidden[:, :-1][wanted])
    return scored


def answered_tokens(tokenizer: Any, pair: Pair) -> tuple[list[int], int]:
    """Tokens of a question with its answer, and how many of them are the question."""
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": pair.prompt}], add_generation_prompt=True, tokenize=False
    )
    question = tokenizer(asked, add_special_tokens=False).input_ids
    answer = tokenizer(f"{pair.answer}{tokenizer.eos_token}", add_special_tokens=False).input_ids
    return (question + answer)[:LONGEST], len(question)
