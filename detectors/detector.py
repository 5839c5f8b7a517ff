"""The contract that every detector keeps."""

from __future__ import annotations

from typing import Protocol, TypeVar

from detectors.day_effect import DayEffect
from detectors.profile import EffectScale, Profile
from detectors.types import Budget, Effect, Score, State, Window

R = TypeVar("R")
"""A detector's own frozen reference."""


class Detector(Protocol[R]):
    """A pure comparison. One file and one entry in ``detectors.DETECTORS``."""

    @property
    def name(self) -> str: ...

    @property
    def signals(self) -> tuple[str, ...]:
        """Signals that it reads from a window, in the order of its scores.

        Empty if the baseline determines them.
        """
        ...

    @property
    def hard(self) -> bool:
        """True for hard signals, which are evaluated every minute and page without waiting."""
        ...

    @property
    def pages(self) -> bool:
        """True if it has a page process."""
        ...

    @property
    def profile(self) -> Profile:
        """Everything but the maths."""
        ...

    @property
    def scale(self) -> EffectScale:
        """The scale of its effects."""
        ...

    def fit(self, baseline: Window, *, days: DayEffect = ...) -> R:
        """Freeze the baseline into what :meth:`score` needs.

        ``days`` is the assumed difference between days while the baseline has seen too few.

        Raises :class:`detectors.errors.ReferenceTooSmall` or ``SignalAbsent``.
        """
        ...

    def score(
        self, reference: R, window: Window, state: State, budget: Budget
    ) -> tuple[Score, State]: ...

    def effect_since(self, reference: R, window: Window) -> Effect:
        """Compare all records of a window (say, since the onset) with the reference.

        No process is touched: late records and any overlap are welcome.
        """
        ...

    def names(self, reference: R) -> tuple[str, ...]:
        """Return the names of the K scores, in the order of the columns of ``Score.increments``."""
        ...

    def dump(self, reference: R) -> bytes:
        """Serialise without pickle (npz with ``allow_pickle=False``), versioned."""
        ...

    def load(self, body: bytes) -> R: ...
