"""Sentences from templates: the deterministic source of every text of the demo.

A template may hold alternatives, ``[a|b|]``, of which one is drawn, and slots,
``{city}``, filled from the domain's lists. Slots are drawn once for a pair, so
an answer that names ``{city}`` repeats the city of its prompt; ``{city2}`` is a
second, different entry of the list ``city``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([a-z]+)(\d*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One thing that users ask: ways to ask it and ways to answer it."""

    asks: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What is asked in one domain, with the lists that fill the slots."""

    intents: tuple[Intent, ...]
    slots: Mapping[str, tuple[str, ...]]


def draw(grammar: Grammar, rng: Random) -> tuple[str, str]:
    """Draw one prompt and its answer.

    Parameters
    ----------
    grammar
        Intents are drawn with equal probability.
    rng
        Source of every choice: equal generators give equal pairs.

    Raises
    ------
    KeyError
        A template names a slot that the grammar has no list for.
    """
    intent = rng.choice(grammar.intents)
    ask = _choose_alternatives(rng.choice(intent.asks), rng)
    answer = _choose_alternatives(rng.choice(intent.answers), rng)
    filled = _fill_slots((ask, answer), grammar.slots, rng=rng)
    return _sentence(ask, filled), _sentence(answer, filled)


def _choose_alternatives(template: str, rng: Random) -> str:
    return _ALTERNATIVES.sub(lambda found: rng.choice(found[1].split("|")), template)


def _fill_slots(
    templates: Sequence[str], slots: Mapping[str, tuple[str, ...]], *, rng: Random
) -> dict[str, str]:
    filled: dict[str, str] = {}
    for kind, number in _SLOT.findall(" ".join(templates)):
        taken = {value for name, value in filled.items() if name.rstrip("0123456789") == kind}
        if kind + number not in filled:
            filled[kind + number] = rng.choice([v for v in slots[kind] if v not in taken])
    return filled


def _sentence(template: str, filled: Mapping[str, str]) -> str:
    text = " ".join(template.format_map(filled).split())
    return text[:1].upper() + text[1:]
