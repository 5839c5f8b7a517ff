"""Every way to go wrong, by family; those that need an engine of their own come last.

Only what leaves the engine spoiled comes after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.adapters.ways import (
    callers,
    engines,
    harmless,
    prompts,
    serving,
    traffic,
    weights,
)
from benchmarks.adapters.ways.way import OfEngine, Way

WAYS: Final = (
    *weights.WAYS,
    *serving.WAYS,
    *prompts.WAYS,
    *traffic.WAYS,
    *callers.WAYS,
    *harmless.WAYS,
    *engines.WAYS,
)
FAMILIES: Final = tuple(dict.fromkeys(way.family for way in WAYS))
QUICK: Final = (
    "base-under-the-name",
    "alpha-doubled",
    "not-a-number",
    "new-topic-100",
    "system-prompt-added",
    "saved-again",
)
"""What is run in minutes."""


def chosen(names: Sequence[str]) -> list[Way]:
    """The ways of these names or families, in this order; all where none is named.

    Those that need an engine of their own come last, before those that spoil the usual one.

    Raises
    ------
    ValueError
        No way and no family has such a name.
    """
    known = [*FAMILIES, *(way.name for way in WAYS)]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"no way or family {', '.join(unknown)}; there are {', '.join(known)}")
    found = [way for way in WAYS if not names or {way.name, way.family} & set(names)]
    order = list(names) or list(FAMILIES)

    def place(way: Way) -> tuple[bool, bool, int]:
        named = way.name if way.name in order else way.family
        return way.poisons, isinstance(way.fault, OfEngine), order.index(named)

    return sorted(found, key=place)
