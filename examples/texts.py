"""The demo's texts: who may ask what, and which texts serve which purpose.

Five domains. Three have an adapter (``support``, ``booking``, ``travel``),
``home`` is the new topic that users turn to in act two and that no adapter was
trained on, ``general`` is everyday English, for the base model and for the
corpus that shows forgetting.

Every domain has `PAIRS_PER_DOMAIN` distinct prompts, cut into three parts that
share no text: ``train`` (what an adapter learns from, and its training index),
``held_out`` (baseline records and perplexity corpora), ``live`` (traffic).
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import islice, repeat
from random import Random
from types import MappingProxyType
from typing import Final

from examples.domains import booking, general, home, support, travel
from examples.grammar import Grammar, draw

PAIRS_PER_DOMAIN: Final = 4_000


class Domain(StrEnum):
    """What a text is about."""

    SUPPORT = "support"
    BOOKING = "booking"
    TRAVEL = "travel"
    HOME = "home"
    GENERAL = "general"


class Part(StrEnum):
    """What a text is for."""

    TRAIN = "train"
    HELD_OUT = "held_out"
    LIVE = "live"


ADAPTER_DOMAINS: Final = (Domain.SUPPORT, Domain.BOOKING, Domain.TRAVEL)
NEW_TOPIC: Final = Domain.HOME

_GRAMMARS: Final = MappingProxyType(
    {
        Domain.SUPPORT: support.GRAMMAR,
        Domain.BOOKING: booking.GRAMMAR,
        Domain.TRAVEL: travel.GRAMMAR,
        Domain.HOME: home.GRAMMAR,
        Domain.GENERAL: general.GRAMMAR,
    }
)
_BOUNDS: Final = MappingProxyType(
    {
        Part.TRAIN: slice(0, 1_000),
        Part.HELD_OUT: slice(1_000, 2_400),
        Part.LIVE: slice(2_400, PAIRS_PER_DOMAIN),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt with an answer as the domain's staff would give it."""

    domain: Domain
    prompt: str
    answer: str

    @property
    def transcript(self) -> str:
        """Both turns as one document, as the models' chat template writes them."""
        return f"User:\n{self.prompt}\nAssistant:\n{self.answer}"


@cache
def pairs(domain: Domain) -> tuple[Pair, ...]:
    """All pairs of a domain, in a fixed random order.

    Returns
    -------
    tuple of Pair
        `PAIRS_PER_DOMAIN` pairs with distinct prompts; the same in every process
        and on every machine.
    """
    # Random(str) hashes with SHA-512: the same on every machine, unlike hash().
    rng = Random(f"driftline demo: {domain}")  # noqa: S311 - texts, not secrets
    found = _distinct(_GRAMMARS[domain], rng)
    return tuple(Pair(domain=domain, prompt=p, answer=a) for p, a in found.items())


def part(domain: Domain, name: Part) -> tuple[Pair, ...]:
    """Pairs of one purpose: 1,000 to train, 1,400 held out, 1,600 live.

    The parts of a domain share no prompt.
    """
    return pairs(domain)[_BOUNDS[name]]


def corpus(domain: Domain, documents: int = 40) -> tuple[str, ...]:
    """Fixed documents (both turns of a dialogue) on which perplexity is measured.

    Taken from the end of the held-out part, so that a baseline which takes the
    first 1,360 prompts of that part shares none with the default corpus.
    """
    return tuple(pair.transcript for pair in part(domain, Part.HELD_OUT)[-documents:])


def unseen(domain: Domain, count: int) -> tuple[Pair, ...]:
    """Draw further pairs of a domain whose prompts are not among its `pairs`.

    For the base model, which may read a domain without having seen any text that
    an adapter learns from or is measured on. Prompts may repeat, with other answers.
    """
    rng = Random(f"driftline demo, unseen: {domain}")  # noqa: S311 - texts, not secrets
    known = {pair.prompt for pair in pairs(domain)}
    drawn = (draw(_GRAMMARS[domain], rng) for _ in repeat(None))
    fresh = (
        Pair(domain=domain, prompt=prompt, answer=answer)
        for prompt, answer in drawn
        if prompt not in known
    )
    return tuple(islice(fresh, count))


def _distinct(grammar: Grammar, rng: Random) -> dict[str, str]:
    found: dict[str, str] = {}
    while len(found) < PAIRS_PER_DOMAIN:
        prompt, answer = draw(grammar, rng)
        found.setdefault(prompt, answer)
    return found
