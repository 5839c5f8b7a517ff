"""The table of signals: what is known of each number that a record is compared by.

A detector names the signals that it reads; how they are stored, which data of a record they come
from, which settings must match and how people hear of them stands here. A new signal is an entry
here and the code that measures it (:mod:`monitor.capture`); one that is stored is also a column
and a migration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from detectors.axes import COUNT
from detectors.detector import Detector
from detectors.profile import Phrases

SIMILARITY: Final = "similarity"
"""A prompt's cosine to the nearest training example."""
TOPICS: Final = tuple(f"topic_{number}" for number in range(1, COUNT + 1))
"""Coordinates of a prompt along the training index's principal axes."""
DISTANCE: Final = "answer_distance"
"""An answer's distance from all the axes: new things lie in none of their directions."""
ANSWERS: Final = (DISTANCE, *(f"answer_{number}" for number in range(1, COUNT + 1)))
"""Signals of an answer: its distance, and coordinates along the axes of known answers."""
FORMATS: Final = ("json", "code", "list", "prose")
"""Formats of an answer; a record stores the index in this tuple."""
FORMAT_SIGNALS: Final = tuple(f"format_{form}" for form in FORMATS)

SAMPLING: Final = frozenset({"temperature", "top_p", "max_tokens", "stop", "logprobs"})
"""All settings of a request on which a signal can depend."""
_LIMIT: Final = frozenset({"max_tokens", "stop"})
"""Where an answer is cut off decides whether it is truncated, too short to be measured
(``missing``), broken JSON (``invalid``), or ends before its list begins (``format_…``)."""


class SignalKind(StrEnum):
    """Where a signal's values come from: a column of its record, or what is worked out of it."""

    NUMBER = "number"
    INTEGER = "integer"
    CODE = "code"
    FLAG = "flag"
    DERIVED = "derived"
    """Computed from columns when records are read."""
    PROMPT = "prompt"
    """From comparing the prompt's embedding with a reference."""
    ANSWER = "answer"
    """From comparing the answer's embedding with a reference."""

    @property
    def stored(self) -> bool:
        """True if it is a column of its record."""
        return self not in {SignalKind.DERIVED, SignalKind.PROMPT, SignalKind.ANSWER}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPart:
    """A part of a record that signals are measured from.

    field
        What a record came without, in words.
    name, advice
        What a log lacks, and how to have it.
    shown_by
        The signal that is measured wherever a record carries the part.
    of_request
        True if a request has it even where it got no answer.
    of_some
        True if most requests have none, however the client is made.
    """

    field: str
    name: str
    advice: str
    shown_by: str
    of_request: bool = False
    of_some: bool = False


LOGPROBS: Final = RecordPart(
    field="log-probabilities",
    name="log-probabilities",
    advice="ask the engine for logprobs",
    shown_by="mean_nll",
)
TOP_LOGPROBS: Final = RecordPart(
    field="top log-probabilities",
    name="top log-probabilities",
    advice="ask the engine for top_logprobs (5 are enough)",
    shown_by="entropy",
)
PROMPT: Final = RecordPart(
    field="the prompt's text",
    name="prompts",
    advice="log the prompts, or send embeddings",
    shown_by=SIMILARITY,
    of_request=True,
)
PROMPT_TOKENS: Final = RecordPart(
    field="prompt_tokens",
    name="length of requests",
    advice="log the usage that the engine counts",
    shown_by="prompt_tokens",
)
OUTPUT: Final = RecordPart(
    field="the answer's text",
    name="answers",
    advice="log the answers' text",
    shown_by="rep_4gram",
)
LENGTH: Final = RecordPart(
    field="the answer's text or its length",
    name="text or token counts of answers",
    advice="log the answers' text or token counts",
    shown_by="empty",
)
FORM: Final = RecordPart(
    field="a form that was asked for",
    name="answers in a form that was asked for",
    advice="log the requests (response_format, tools), or `valid` with each record",
    shown_by="invalid",
    of_some=True,
)
TRAINING: Final = RecordPart(
    field="training texts to compare the answer with",
    name="answers compared with training texts",
    advice="log the answers' text, and give the reference training lines with their completions",
    shown_by="training_text",
    of_some=True,
)
FINISH: Final = RecordPart(
    field="finish_reason",
    name="reason why answers ended",
    advice="log finish_reason",
    shown_by="truncated",
)
STATUS: Final = RecordPart(
    field="status",
    name="status of requests",
    advice="log the status of every request, failed ones too",
    shown_by="error",
    of_request=True,
)
TIME: Final = RecordPart(
    field="latency_ms",
    name="duration of answers",
    advice="log the time and the tokens of each answer",
    shown_by="latency_ms",
)


class Guarding(StrEnum):
    """When a signal guards a canary; more is worse in each that does."""

    ALWAYS = "always"
    """A failure too rare for shares: every canary is held to it."""
    USUALLY = "usually"
    """Unless a person chooses others."""
    IF_CHOSEN = "if_chosen"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSignal:
    """One signal of the table.

    part
        The part of a record that it is measured from; None: no detector is told by it.
    settings
        Those that must be alike before two of its values are compared. Whether a request fails, an
        answer is empty, loops or refuses, how long it took for its size, and what was asked depend
        on none.
    guarding
        When it guards a canary; None: never.
    waited_for
        True if a person waits for it: nobody waits for the copies that a shadow answers.
    words
        What it means when it moves; None: the detector's own words are said.
    gloss
        A sentence for readers who do not know the word for what it measures.
    """

    name: str
    kind: SignalKind
    part: RecordPart | None = None
    settings: frozenset[str] = frozenset()
    guarding: Guarding | None = None
    waited_for: bool = False
    words: Phrases | None = None
    gloss: str = ""


_TABLE: Final = (
    KnownSignal(
        name="mean_nll",
        kind=SignalKind.NUMBER,
        part=LOGPROBS,
        settings=SAMPLING,
        guarding=Guarding.USUALLY,
        words=Phrases(
            "mean NLL",
            "answers less certain",
            "answers more certain",
            "certainty of answers changed",
        ),
        gloss="Certainty is the probability that the model gives to the words it answers.",
    ),
    KnownSignal(
        name="p95_nll",
        kind=SignalKind.NUMBER,
        part=LOGPROBS,
        settings=SAMPLING,
        guarding=Guarding.IF_CHOSEN,
        words=Phrases(
            "p95 NLL",
            "more surprising words in answers",
            "fewer surprising words in answers",
            "surprising words in answers changed",
        ),
    ),
    KnownSignal(
        name="near_certain",
        kind=SignalKind.NUMBER,
        part=LOGPROBS,
        settings=SAMPLING,
        words=Phrases(
            "share of near-certain tokens",
            "answers more sure of each word",
            "answers less sure of each word",
            "share of certain words changed",
        ),
    ),
    KnownSignal(
        name="log_length",
        kind=SignalKind.DERIVED,
        part=LENGTH,
        settings=SAMPLING,
        words=Phrases(
            "answer length", "answers longer", "answers shorter", "length of answers changed"
        ),
    ),
    KnownSignal(
        name="entropy",
        kind=SignalKind.NUMBER,
        part=TOP_LOGPROBS,
        settings=SAMPLING,
        guarding=Guarding.USUALLY,
        words=Phrases(
            "token entropy",
            "answers more diffuse",
            "answers less diffuse",
            "spread of answers changed",
        ),
        gloss="Answers are diffuse where many next words are about as likely.",
    ),
    KnownSignal(
        name="margin",
        kind=SignalKind.NUMBER,
        part=TOP_LOGPROBS,
        settings=SAMPLING,
        words=Phrases(
            "margin between first and second token",
            "answers more decided",
            "answers less decided",
            "decidedness of answers changed",
        ),
        gloss="Decidedness is how far the likeliest next word is ahead of the second.",
    ),
    KnownSignal(
        name=SIMILARITY,
        kind=SignalKind.PROMPT,
        part=PROMPT,
        words=Phrases(
            "similarity to training examples",
            "requests closer to the training examples",
            "requests unlike the training examples",
            "similarity of requests changed",
        ),
    ),
    *(
        KnownSignal(
            name=topic,
            kind=SignalKind.PROMPT,
            part=PROMPT,
            words=Phrases.of(f"topic mix (coordinate {number})", "the mix of topics changed"),
        )
        for number, topic in enumerate(TOPICS, start=1)
    ),
    KnownSignal(
        name="prompt_tokens",
        kind=SignalKind.INTEGER,
        part=PROMPT_TOKENS,
        words=Phrases(
            "length of requests",
            "requests longer",
            "requests shorter",
            "length of requests changed",
        ),
    ),
    KnownSignal(
        name="prompt_prefix",
        kind=SignalKind.INTEGER,
        part=PROMPT,
        words=Phrases.of(
            "requests that begin in an unusual way", "requests begin otherwise than usual"
        ),
    ),
    *(
        KnownSignal(name=one, kind=SignalKind.ANSWER, part=OUTPUT, settings=SAMPLING - {"logprobs"})
        for one in ANSWERS
    ),
    KnownSignal(name="answer_format", kind=SignalKind.CODE, part=OUTPUT),
    *(
        KnownSignal(
            name=name,
            kind=SignalKind.DERIVED,
            part=OUTPUT,
            settings=_LIMIT,
            words=Phrases.of(f"share of {what}", f"more answers are {what}"),
        )
        for name, what in zip(
            FORMAT_SIGNALS, ("JSON", "code", "lists or tables", "prose"), strict=True
        )
    ),
    KnownSignal(
        name="latency_ms",
        kind=SignalKind.NUMBER,
        part=TIME,
        guarding=Guarding.USUALLY,
        waited_for=True,
        words=Phrases(
            "time to the whole answer, beside its length",
            "answers slower",
            "answers faster",
            "speed of answers changed",
        ),
    ),
    KnownSignal(
        name="ttft_ms",
        kind=SignalKind.NUMBER,
        part=TIME,
        guarding=Guarding.IF_CHOSEN,
        waited_for=True,
        words=Phrases(
            "time to the first token, beside the length of the prompt",
            "answers begin later",
            "answers begin sooner",
            "time to the first token changed",
        ),
    ),
    KnownSignal(name="loop", kind=SignalKind.FLAG, part=OUTPUT, guarding=Guarding.USUALLY),
    KnownSignal(name="refusal", kind=SignalKind.FLAG, part=OUTPUT, guarding=Guarding.USUALLY),
    KnownSignal(
        name="truncated",
        kind=SignalKind.FLAG,
        part=FINISH,
        settings=_LIMIT,
        guarding=Guarding.USUALLY,
    ),
    KnownSignal(
        name="invalid",
        kind=SignalKind.FLAG,
        part=FORM,
        settings=_LIMIT,
        guarding=Guarding.IF_CHOSEN,
    ),
    KnownSignal(
        name="missing",
        kind=SignalKind.FLAG,
        part=LOGPROBS,
        settings=_LIMIT,
        guarding=Guarding.IF_CHOSEN,
    ),
    KnownSignal(name="error", kind=SignalKind.DERIVED, part=STATUS, guarding=Guarding.ALWAYS),
    KnownSignal(name="empty", kind=SignalKind.FLAG, part=LENGTH, guarding=Guarding.ALWAYS),
    KnownSignal(
        name="non_finite", kind=SignalKind.INTEGER, part=LOGPROBS, guarding=Guarding.ALWAYS
    ),
    KnownSignal(
        name="training_text",
        kind=SignalKind.FLAG,
        part=TRAINING,
        guarding=Guarding.ALWAYS,
    ),
    KnownSignal(name="n_tokens", kind=SignalKind.INTEGER, part=LENGTH),
    KnownSignal(name="rep_4gram", kind=SignalKind.NUMBER, part=OUTPUT),
    KnownSignal(name="compression", kind=SignalKind.NUMBER, part=OUTPUT),
)

SIGNALS: Final[Mapping[str, KnownSignal]] = MappingProxyType({one.name: one for one in _TABLE})
"""By name. Feedback is in no table: people name it."""


def settings_of(signal: str) -> frozenset[str]:
    """Return the settings that must be alike before two values of a signal are compared."""
    return SIGNALS[signal].settings if signal in SIGNALS else frozenset()


def needed(signals: Iterable[str]) -> frozenset[str]:
    """Return the settings that must match for all of some signals."""
    return frozenset[str]().union(*map(settings_of, signals))


def main_signal(detector: Detector[Any]) -> KnownSignal | None:
    """Return the first signal of which a request must have one; None if people name them."""
    return next((SIGNALS.get(one) for one in detector.profile.told_by(detector.signals)), None)


def of_kind(*kinds: SignalKind) -> tuple[str, ...]:
    """Return the names of the signals of some kinds, in the order of the table."""
    return tuple(one.name for one in _TABLE if one.kind in kinds)
