"""How far a broken version is from the approved one: mean KL of the next token, in nats.

Both read the same held-out questions with the right answers of the data set; at each token of an
answer their expectations are compared, ``KL(approved || broken)``. A distribution with NaN
has none: its divergence is reported as `INFINITE`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel

from benchmarks.adapters.tasks import task
from benchmarks.adapters.training import answered_tokens, load_base
from benchmarks.adapters.ways.way import Setup

PAIRS: Final = 10
BLOCK: Final = 32
"""Tokens that an engine caches together."""
RIGHT, CACHED = "right", "cached"
INFINITE: Final = 1000.0
_FILES: Final = ("adapter_model.safetensors", "adapter_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What answers: an engine's setup with an adapter, on a cache that another one wrote."""

    setup: Setup
    adapter: Path
    cached: Path | None = None


def expectations(of: Answering, name: str) -> torch.Tensor:
    """Log-probabilities at each token of a task's answers, ``(tokens, vocabulary)``."""
    model, tokenizer = load_base(
        of.setup.model, dtype=getattr(torch, of.setup.dtype), **of.setup.config
    )
    adapted = PeftModel.from_pretrained(model, str(of.adapter), adapter_name=RIGHT)
    if of.cached is not None:
        adapted.load_adapter(str(of.cached), adapter_name=CACHED)
    found = []
    for pair in task(name).baseline[:PAIRS]:
        tokens, asked = answered_tokens(tokenizer, pair)
        held = 0 if of.cached is None else (asked - 1) // BLOCK * BLOCK
        found.append(_answer(adapted.eval(), tokens, asked=asked, held=held))
    return torch.cat(found)


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
def _answer(model: Any, tokens: Sequence[int], *, asked: int, held: int) -> torch.Tensor:
    """Read an answer; the first ``held`` tokens are read by the adapter that wrote the cache."""
    before = None
    if held:
        model.set_adapter(CACHED)
        before = model(input_ids=torch.tensor([tokens[:held]]), use_cache=True).past_key_values
        model.set_adapter(RIGHT)
    logits = model(input_ids=torch.tensor([tokens[held:]]), past_key_values=before).logits[0]
    return torch.log_softmax(logits[asked - 1 - held : -1].float(), -1)


def _identity(of: Answering) -> str:
    """Name what answers by its files: weights and config, of the cache's adapter too."""
    folders = [of.adapter, *([] if of.cached is None else [of.cached])]
    files = [folder / name for folder in folders for name in _FILES]
    contents = b"".join(hashlib.sha256(one.read_bytes()).digest() for one in files)
    return f"{of.setup.dtype}-{hashlib.sha256(contents).hexdigest()[:16]}"


class Divergences:
    """Measured divergences, kept in a file: each takes seconds."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._known = json.loads(kept.read_text()) if kept.exists() else {}
        self._approved: dict[str, torch.Tensor] = {}

    def of(self, key: str, *, name: str, approved: Answering, other: Answering) -> float:
        """Divergence of what answers now from the approved adapter of a task."""
        key = f"{key}/{_identity(approved)}/{_identity(other)}"
        if key not in self._known:
            if name not in self._approved:
                self._approved[name] = expectations(approved, name)
            self._known[key] = divergence(self._approved[name], expectations(other, name))
            self._kept.write_text(json.dumps(self._known, indent=1))
        return float(self._known[key])
