"""How the lines of a log were taken, and which could not be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from monitor.replay.errors import ReplayFailed

FIRST_BAD: Final = 5
WITHOUT_TIME: Final = "has no time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A line that holds no usable record; ``file`` names its file where a log has several."""

    line: int
    reason: str
    file: str | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many lines were read, and which could not be used.

    ``bad`` are the first of ``n_bad``; ``timeless`` of these have no time.
    ``passed_over`` counts the records of labels that were not asked for.
    """

    lines: int = 0
    bad: list[Bad] = field(default_factory=list)
    n_bad: int = 0
    timeless: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)

    def pass_over(self, label: str) -> None:
        """Count a record that was not asked for."""
        self.passed_over[label] = self.passed_over.get(label, 0) + 1

    def refuse(self, number: int, reason: str, *, strict: bool = False) -> None:
        """Count a bad line; raise ReplayFailed at the first one if ``strict``."""
        if strict:
            raise ReplayFailed(f"line {number}: {reason}")
        self.n_bad += 1
        self.timeless += reason == WITHOUT_TIME
        if len(self.bad) < FIRST_BAD:
            self.bad.append(Bad(line=number, reason=reason))

    def why_nothing(self, name: str, adapter: str | None) -> str:
        """Say why a log has no usable record."""
        if self.timeless:
            return (
                f"{name}: its records have no time; --rate says how many requests a day"
                " the adapter answers, and spreads them"
            )
        if self.passed_over:
            names = ", ".join(sorted(self.passed_over)[:10])
            return f"{name}: nothing of {adapter!r}; it has {names}"
        first = f"; line {self.bad[0].line}: {self.bad[0].reason}" if self.bad else ""
        return f"{name}: no record in {self.lines} lines{first}"
