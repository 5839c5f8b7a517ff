"""Requests to retrain an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.views.score import WindowBody
from monitor.views.shape import View
from monitor.views.vocabulary import RetrainWord


@dataclass(frozen=True, slots=True, kw_only=True)
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
