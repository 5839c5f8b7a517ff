"""How far a broken version is from the approved one: mean KL of the next token, in nats.

Both read the same questions and the approved version's own right answers; at each token of an
answer their expectations are compared, ``KL(approved || broken)``. A distribution with NaN
has none: its divergence is reported as `INFINITE`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.adapters.tasks import Pair, task
from benchmarks.adapters.training import answered_tokens, load_base
from benchmarks.adapters.ways.way import Setup

PAIRS: Final = 24
INFINITE: Final = 1000.0


def expectations(setup: Setup, adapter: Path | None, name: str) -> torch.Tensor:
    """Log-probabilities at each token of a task's answers, ``(tokens, vocabulary)``."""
    model, tokenizer = load_base(setup.model, dtype=getattr(torch, setup.dtype))
    if setup.config:
        config = AutoConfig.from_pretrained(setup.model, **setup.config)
        model = AutoModelForCausalLM.from_pretrained(
            setup.model, config=config, dtype=getattr(torch, setup.dtype)
        )
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    return _answers(model.eval(), tokenizer, task(name).baseline[:PAIRS])


def divergence(approved: torch.Tensor, other: torch.Tensor) -> float:
    """Mean KL in nats.

    >>> same = torch.log_softmax(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), -1)
    >>> divergence(same, same)
    0.0
    """
    if not torch.isfinite(other).all():
        return INFINITE
    return float((approved.exp() * (approved - other)).sum(-1).mean())


@torch.inference_mode()
def _answers(model: Any, tokenizer: Any, pairs: Sequence[Pair]) -> torch.Tensor:
    found = []
    for pair in pairs:
        tokens, asked = answered_tokens(tokenizer, pair)
        logits = model(input_ids=torch.tensor([tokens])).logits[0, asked - 1 : -1]
        found.append(torch.log_softmax(logits.float(), -1))
    return torch.cat(found)


class Divergences:
    """Measured divergences, kept in a file: each takes seconds."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._known = json.loads(kept.read_text()) if kept.exists() else {}
        self._approved: dict[tuple[str, str], torch.Tensor] = {}

    def of(
        self, key: str, *, name: str, approved: tuple[Setup, Path], other: tuple[Setup, Path | None]
    ) -> float:
        """Divergence of what answers now from the approved adapter of a task."""
        if key not in self._known:
            known = self._approved.setdefault((name, str(approved[1])), self._right(name, approved))
            self._known[key] = divergence(known, expectations(*other, name))
            self._kept.write_text(json.dumps(self._known, indent=1))
        return float(self._known[key])

    def _right(self, name: str, approved: tuple[Setup, Path]) -> torch.Tensor:
        held = self._approved.get((name, str(approved[1])))
        return expectations(*approved, name) if held is None else held
