"""What the first published run of a way got wrong, beside what this run makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class First:
    """How a way was first published: at which commit, and what was wrong of it."""

    commit: str
    wrong: str


TOLD, BLAMED_RIGHT = 28, 23
"""Of the ways as first published: those told of, and those whose first message blamed right."""
FIRST: Mapping[str, First] = MappingProxyType(
    {
        "not-a-number": First("e446ce05", "blame unknown"),
        "over-trained": First("6c35b96a", "blame unknown"),
        "alpha-halved": First("6c35b96a", "no move: the broken version went on answering"),
        "max-tokens": First("d0f4ab4f", "blame unknown"),
        "stop-words": First("d0f4ab4f", "blame unknown"),
        "temperature": First("d0f4ab4f", "blame unknown"),
        "wrong-base-revision": First("780d5d43", "no page, and no move"),
    }
)
"""By way, from the pages of that time: ``git show COMMIT:docs/adapters-benchmark.md``."""
