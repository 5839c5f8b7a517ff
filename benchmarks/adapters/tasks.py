"""Three tasks of public text: what their adapters learn, and what their users ask.

``bank``: a bank's customers (BANKING77), answered with the intent in a fixed sentence.
``concierge``: hotels and restaurants (Schema-Guided Dialogue), answered as its system does.
``maths``: school sums (GSM8K), answered with the last two equations and the result.

Questions of training, of baselines and of live traffic are never the same.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).parent / "data"
BASELINE: Final = {"bank": 600, "concierge": 600, "maths": 340}
"""Questions kept for baselines, of each task."""
LIVE: Final = 300
"""Questions kept for live traffic, of each task; the others are learned from."""
TASKS: Final = tuple(BASELINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A question, the right answer, and what kind of question it is."""

    prompt: str
    answer: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one adapter is for, its questions in three disjoint parts."""

    name: str
    training: Sequence[Pair]
    baseline: Sequence[Pair]
    live: Sequence[Pair]


@cache
def task(name: str) -> Task:
    """Read a task's questions."""
    found, kept = pairs(name), BASELINE[name]
    return Task(
        name=name,
        baseline=found[:kept],
        live=found[kept : kept + LIVE],
        training=found[kept + LIVE :],
    )


def pairs(name: str) -> Sequence[Pair]:
    """Read a file of questions in its order."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [Pair(**json.loads(line)) for line in lines]
