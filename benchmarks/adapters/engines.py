"""Engines beside the usual one: started while others are still measured, kept while needed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from benchmarks.adapters.engine import Engine
from benchmarks.adapters.ways.way import Setup

Starts = Callable[[Setup], Engine]
Waits = Callable[[Engine], None]


@dataclass(kw_only=True, eq=False)
class Engines:
    """At most two other engines: the one that is asked for and the one that comes next."""

    start: Starts
    wait: Waits
    _running: list[tuple[Setup, Engine]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for _setup, engine in self._running:
                stack.enter_context(engine)
        self._running.clear()

    def begin(self, setup: Setup) -> Engine:
        """Start one if it does not run; nobody waits for it yet."""
        for known, engine in self._running:
            if known == setup:
                return engine
        engine = self.start(setup)
        self._running.append((setup, engine))
        return engine

    def ready(self, setup: Setup) -> Engine:
        """Give one that answers, and end those that are of no more use."""
        for other in [one for one in self._running if one[0] != setup]:
            self._running.remove(other)
            with other[1]:
                pass
        engine = self.begin(setup)
        self.wait(engine)
        return engine
