"""The families of faults in a plan: the signal that moves, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from detectors.input_similarity import INPUT_SIMILARITY, SIMILARITY
from detectors.logit_ks import LOGIT_KS
from detectors.output_similarity import DISTANCE, OUTPUT_SIMILARITY
from detectors.rate_detector import RateReference
from detectors.scores import DriftSide
from detectors.smallest_seen import Fault


class Unit(StrEnum):
    """The unit in which a fault's size is given."""

    SHARE = "share"
    """Of all requests."""
    RATIO = "ratio"
    """More or less than usual, 0 is the same: of perplexity, length or time."""
    NATS = "nats"
    SD = "sd"
    """Standard deviations of the signal."""


def size_words(size: float, unit: Unit) -> str:
    """Write a size.

    >>> size_words(0.054, Unit.RATIO), size_words(0.3, Unit.NATS), size_words(1.0, Unit.SHARE)
    ('5.4 %', '0.3 nats', '100 %')
    """
    number = 100.0 * size if unit in {Unit.SHARE, Unit.RATIO} else size
    told = f"{number:.0f}" if number >= 10.0 else f"{number:.2g}"  # noqa: PLR2004 (two digits)
    return f"{told} {'%' if unit in {Unit.SHARE, Unit.RATIO} else unit.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of fault.

    told
        Converts a size in sd, and the signal's sd, to a number of the unit.
    """

    words: str
    fault: Fault
    unit: Unit
    told: Callable[[float, float], float]


def _as_it_is(size: float, _sd: float) -> float:
    return size


def _in_nats(size: float, sd: float) -> float:
    return size * sd


def _rise_of_perplexity(size: float, sd: float) -> float:
    """Convert a rise of mean NLL to a rise of perplexity."""
    return math.expm1(min(size * sd, 700.0))


def _fall_of_length(size: float, sd: float) -> float:
    """Convert a fall of log length to a fall of length."""
    return -math.expm1(-size * sd)


def _share(words: str, signal: str, *, falls: bool = False) -> Family:
    fault = Fault(signal=signal, falls=falls, share=True)
    return Family(words=words, fault=fault, unit=Unit.SHARE, told=_as_it_is)


_FAMILIES: Final[Mapping[str, Sequence[Family]]] = {
    LOGIT_KS.name: (
        Family(
            words="all answers less certain, by perplexity",
            fault=Fault(signal="mean_nll"),
            unit=Unit.RATIO,
            told=_rise_of_perplexity,
        ),
        _share("answers that are garbage", "mean_nll"),
        Family(
            words="all answers shorter",
            fault=Fault(signal="log_length", falls=True),
            unit=Unit.RATIO,
            told=_fall_of_length,
        ),
    ),
    "entropy": (
        Family(
            words="all answers more diffuse, by entropy",
            fault=Fault(signal="entropy"),
            unit=Unit.NATS,
            told=_in_nats,
        ),
    ),
    "latency": (
        Family(
            words="all answers slower",
            fault=Fault(signal="latency_ms"),
            unit=Unit.RATIO,
            told=_in_nats,  # its unit is what is usual for a request of the size
        ),
    ),
    INPUT_SIMILARITY.name: (_share("requests of new topics", SIMILARITY, falls=True),),
    OUTPUT_SIMILARITY.name: (_share("answers of new kinds", DISTANCE),),
}
_FAILURES: Final = {
    "repetition": "answers in loops",
    "empty": "empty answers",
    "errors": "requests that fail",
    "non_finite": "answers with numbers that are not finite",
    "truncated": "answers cut off",
    "refusal": "refusals",
    "invalid": "answers that are not valid",
    "missing": "answers that cannot be measured",
}


def families_of(detector: str, reference: Any) -> Sequence[Family]:
    """Return the faults planned for a detector; one without an entry has its first signal's."""
    if detector in _FAMILIES:
        return _FAMILIES[detector]
    signal = reference.signals[0]
    if isinstance(reference, RateReference):
        return (_share(_FAILURES.get(detector, detector), signal),)
    falls = reference.sides[0] is DriftSide.DOWN
    fault = Fault(signal=signal, falls=falls)
    return (Family(words=f"worse {signal}", fault=fault, unit=Unit.SD, told=_as_it_is),)
