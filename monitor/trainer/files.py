"""The files of a request's folder, written whole or not at all. No torch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from monitor.probes.inputs import GivenText

PLAN: Final = "plan.json"
RESULT: Final = "result.json"
MADE: Final = "made.json"
PROGRESS: Final = "progress.json"
EXAMPLES, LABELLED = "examples.jsonl", "labelled.jsonl"
TRAINING, HELD_OUT, EARLIER = "training.jsonl", "held_out.jsonl", "earlier.jsonl"
ADAPTER: Final = "adapter"
CHECKPOINTS: Final = "checkpoints"


class FitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The models, the settings and the data of a training.

    Paths are absolute; ``data`` is the hash of all examples, ``new`` counts the new ones, which
    come first. With fewer than ``least`` that fit into the context nothing is trained.
    """

    base: str
    parent: str
    identity: str
    data: str
    new: int
    least: int
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
    ``training``, ``held_out`` and ``earlier`` are texts as the adapter read them, as an admission
    is asked with them.
    """

    parent_nll: float
    held_out_nll: float
    steps: int
    examples: int
    left_out: int
    seconds: float
    training: list[GivenText]
    held_out: list[GivenText]
    earlier: list[GivenText]


def written(path: Path, body: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(body)
    draft.replace(path)


def one_part(name: str) -> str:
    """Write a name as one part of a path, which leads nowhere else.

    >>> one_part("acme/support"), one_part("..")
    ('acme%2Fsupport', '%2E.')
    """
    quoted = quote(name, safe=" @+,=")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def forget(folder: Path) -> None:
    """Delete the texts and weights of a request that is over; logs stay."""
    for path in (*folder.glob("*.jsonl"), folder / RESULT, folder / "ids.txt"):
        path.unlink(missing_ok=True)
    for name in (CHECKPOINTS, ADAPTER):
        shutil.rmtree(folder / name, ignore_errors=True)
