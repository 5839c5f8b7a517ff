"""The progress of a replay, as its stages report it."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """A progress bar, or none.

    One stage runs at a time; the beginning of the next one ends it.
    """

    def begin(self, stage: str, total: float) -> None:
        """Start a stage of ``total`` steps."""
        ...

    def reach(self, done: float) -> None:
        """Say how many steps of the stage are done."""
        ...


class Unwatched:
    """Shows no progress."""

    def begin(self, stage: str, total: float) -> None:
        """Do nothing."""

    def reach(self, done: float) -> None:
        """Do nothing."""
