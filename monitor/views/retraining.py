"""Requests to retrain an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from monitor.views.score import WindowBody
from monitor.views.shape import View
from monitor.views.vocabulary import RetrainWord, TrainingStateWord, TrainingStepWord


class ExampleFormat(StrEnum):
    """How exported examples are written."""

    OPENAI = "openai"
    """`{"messages": [...]}`, as OpenAI's fine-tuning and most trainers read it."""
    SHAREGPT = "sharegpt"
    """`{"id": ..., "conversations": [...]}`."""


class TrainingBody(View):
    """How far the training of a request is, and how it ended."""

    worker: str
    epoch: int
    """Goes with each report; a worker that lost its training to another has an older one."""
    state: TrainingStateWord
    step: TrainingStepWord
    progress: float
    """Of the step, in [0, 1]."""
    note: str
    made: str | None
    """Name of the version that was made; null: none yet."""
    began_at: datetime
    finished_at: datetime | None


class RetrainingBody(View):
    """A request to retrain an adapter."""

    retraining: int
    adapter: str
    version: str
    """To start from, and to register as parent."""
    cause: RetrainWord
    reason: str
    window: WindowBody
    """Whose requests are meant."""
    below: float | None
    """Less similar to training is new; null: not compared."""
    replay_share: float
    """Of the earlier training examples to mix in."""
    evidence: Mapping[str, Any]
    manifest: str
    created_at: datetime
    training: TrainingBody | None
    """null: nobody has begun it."""
