"""The files between a worker and the process that trains for it. No torch."""

from __future__ import annotations

from typing import Final

import msgspec

PLAN: Final = "plan.json"
RESULT: Final = "result.json"
TRAINING, HELD_OUT, EARLIER = "training.jsonl", "held_out.jsonl", "earlier.jsonl"
ADAPTER: Final = "adapter"
CHECKPOINTS: Final = "checkpoints"
PROGRESS: Final = "progress.jsonl"


class FitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The models, the settings and the data of a training.

    Paths are absolute; ``data`` is the hash of all examples.
    """

    base: str
    parent: str
    data: str
    epochs: float
    learning_rate: float
    batch: int
    context: int
    patience: int
    looks: int
    seed: int
    max_s: float


class FitProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: ``done`` in [0, 1]."""

    done: float
    note: str


class FitResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a training.

    NLLs are in nats per token of the held-out answers, of the parent and of the new adapter.
    ``training``, ``held_out`` and ``earlier`` are texts as the adapter read them.
    """

    parent_nll: float
    held_out_nll: float
    steps: int
    examples: int
    left_out: int
    seconds: float
    training: list[str]
    held_out: list[str]
    earlier: list[str]
