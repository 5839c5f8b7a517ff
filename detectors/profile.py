"""A detector's side, words and faults: all that is needed of it but the maths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from detectors.faults import Family
from detectors.textbook import Threshold

LAST: Final = 9


class DetectorSide(StrEnum):
    """The side that a detector measures; the rules of blame and of traffic go by this alone."""

    ANSWERS = "answers"
    """The model's words, and whether it says anything."""
    REQUESTS = "requests"
    """Users' requests: no fault of the model, and no run over fixed texts can confirm it."""
    SERVING = "serving"
    """How long answers take, which a run over fixed texts does not show either."""
    FEEDBACK = "feedback"
    """The worth of answers to people. It comes later than the answers, as arrivals of its own."""

    @property
    def moves_traffic(self) -> bool:
        """True if another version of the model may help."""
        return self is DetectorSide.ANSWERS

    @property
    def asks_probe(self) -> bool:
        """True if a crossing asks for the probe, and its page waits for the probe's answer."""
        return self in {DetectorSide.ANSWERS, DetectorSide.FEEDBACK}


class EffectScale(StrEnum):
    """The scale of a detector's effects; each has its own margin."""

    RANK = "rank"
    """Cliff's delta, in [-1, 1]."""
    RATE = "rate"
    """A difference of rates."""


class Phrases(NamedTuple):
    """A signal's name, and its meaning when it rises, falls or only changes."""

    name: str
    up: str
    down: str
    changed: str

    @classmethod
    def of(cls, name: str, meaning: str) -> Phrases:
        """Return phrases that mean the same in either direction."""
        return cls(name, meaning, meaning, meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Facts about a detector for the rules, the messages and the pages.

    side
        What it measures: decides whether it moves traffic, asks for the probe, and whom it blames.
    follows_requests
        True if new requests change it though the model is as good as ever: beside requests that
        moved it says nothing of the answers.
    rank
        Its place among the signals of a chart, after those that crossed; equals stand by name.
    words
        Its finding in plain words, where its winning signal has none; None: its name is said.
    either_way
        True if the score alone does not tell the direction.
    clause
        The sentence about the share of requests that show it (``55 % of requests fail``).
    findings
        Words of findings that are no signal's, by the part of a winner before its colon.
    telling
        The signals of which a request must have one to be compared; empty: any. The length of an
        answer says nothing of its log-probabilities.
    threshold
        Its threshold under the preset `classic`; None: no textbook has one.
    faults
        The faults that a plan speaks of; empty: its first signal's.
    relative
        True if its values are multiples of the usual one for a request of that size.
    """

    side: DetectorSide = DetectorSide.ANSWERS
    follows_requests: bool = False
    rank: int = LAST
    words: Phrases | None = None
    either_way: bool = False
    clause: str = ""
    findings: Mapping[str, Phrases] = field(default_factory=dict)
    telling: tuple[str, ...] = ()
    threshold: Threshold | None = None
    faults: tuple[Family, ...] = ()
    relative: bool = False

    def told_by(self, signals: Iterable[str]) -> tuple[str, ...]:
        """Return those of some signals of which a request must have one to be compared."""
        present = tuple(signals)
        return tuple(one for one in self.telling if one in present) or present
