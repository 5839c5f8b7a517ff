"""What was first published of each way, to be set beside a run: ``results/first.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parents[1] / "results" / "first.json"
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class First:
    """A way's row of the page at a commit; what was wrong is bold.

    Read from ``git show COMMIT:docs/adapters-benchmark.md``.
    """

    commit: str
    ticket: str
    page: str
    blame: str
    route: str
    answered: str

    @property
    def told(self) -> bool:
        return self.blame != NOTHING

    @property
    def moved(self) -> bool:
        return "moved" in self.route

    @property
    def wrong(self) -> bool:
        return "**" in self.blame + self.route


def first_published() -> Mapping[str, First]:
    """Return the first published row of each way."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    return {way: First(*row) for way, row in stored.items()}
