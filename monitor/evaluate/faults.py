"""The faults of a plan: a detector's own, or its first signal's, and their sizes in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectors import profile_of
from detectors.faults import Family, Fault, Unit, as_it_is, share_of
from detectors.rate_detector import RateReference
from detectors.scores import DriftSide


def size_words(size: float, unit: Unit) -> str:
    """Write a size.

    >>> size_words(0.054, Unit.RATIO), size_words(0.3, Unit.NATS), size_words(1.0, Unit.SHARE)
    ('5.4 %', '0.3 nats', '100 %')
    """
    number = 100.0 * size if unit in {Unit.SHARE, Unit.RATIO} else size
    told = f"{number:.0f}" if number >= 10.0 else f"{number:.2g}"  # noqa: PLR2004 (two digits)
    return f"{told} {'%' if unit in {Unit.SHARE, Unit.RATIO} else unit.value}"


def families_of(detector: str, reference: Any) -> Sequence[Family]:
    """Return the faults planned for a detector; one that names none has its first signal's."""
    if own := profile_of(detector).faults:
        return own
    signal = reference.signals[0]
    if isinstance(reference, RateReference):
        return (share_of(detector, signal),)
    falls = reference.sides[0] is DriftSide.DOWN
    fault = Fault(signal=signal, falls=falls)
    return (Family(words=f"worse {signal}", fault=fault, unit=Unit.SD, told=as_it_is),)
