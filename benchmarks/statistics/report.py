"""How far a benchmark is, on the terminal, and what it has found so far, on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a benchmark tells of its progress.

    ``partial`` takes what was found so far: a run of an hour that is cut off leaves the
    cells it finished.
    """

    partial: Callable[[Mapping[str, Any]], None] = lambda _found: None
    shown: bool = True

    def each(self, title: str, items: Sequence[T]) -> Iterator[T]:
        """Go through items behind a progress bar."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True, quiet=not self.shown)
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            yield from progress.track(items, description=title)
