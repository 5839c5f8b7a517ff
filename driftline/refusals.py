"""Remember which models' log-probabilities an engine refused, and for how long not to ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

FIRST_PAUSE: Final = 5.0
"""Seconds for which an engine that refused log-probabilities is not asked for them again. An engine
whose numbers were NaN for a moment refuses, too, so a short time comes first."""
LONGEST_PAUSE: Final = 600.0
"""Each further refusal doubles the time, up to this; an answer with log-probabilities ends it."""


class _Pause(NamedTuple):
    until: float
    seconds: float


@dataclass(slots=True, eq=False)
class Refusals:
    """Remembers refusals by model.

    >>> seconds = 0.0
    >>> refusals = Refusals(now=lambda: seconds)
    >>> refusals.note("support@v1"), refusals.holds("support@v1")
    (5.0, True)
    >>> seconds = 5.0
    >>> refusals.holds("support@v1"), refusals.note("support@v1")
    (False, 10.0)
    """

    now: Callable[[], float] = time.monotonic
    _pauses: dict[str, _Pause] = field(default_factory=dict, init=False)

    def note(self, model: str) -> float | None:
        """Remember a refusal and return its seconds; None: one before it still holds."""
        if self.holds(model):
            return None  # it was asked before the first refusal came
        last = self._pauses.get(model)
        seconds = FIRST_PAUSE if last is None else min(2 * last.seconds, LONGEST_PAUSE)
        self._pauses[model] = _Pause(until=self.now() + seconds, seconds=seconds)
        return seconds

    def holds(self, model: str) -> bool:
        """True while this model's log-probabilities are not asked for."""
        pause = self._pauses.get(model)
        return pause is not None and pause.until > self.now()

    def forget(self, model: str) -> None:
        """Begin with the first pause again: the engine gave them."""
        self._pauses.pop(model, None)
