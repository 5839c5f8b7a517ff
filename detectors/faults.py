"""The faults that a plan speaks of: the signal that moves, and the unit in which people read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """The unit in which a fault's size is given."""

    SHARE = "share"
    """Of all requests."""
    RATIO = "ratio"
    """More or less than usual, 0 is the same: of perplexity, length or time."""
    NATS = "nats"
    SD = "sd"
    """Standard deviations of the signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A change of one signal, in all requests or in a share of them.

    ``falls`` is true towards smaller values. A rate only rises, and only by a share.
    """

    signal: str
    falls: bool = False
    share: bool = False


def as_it_is(size: float, _sd: float) -> float:
    """Return the size: the unit is the fault's own."""
    return size


def in_units(size: float, sd: float) -> float:
    """Convert a size in sd to the signal's own unit."""
    return size * sd


def rise_of_perplexity(size: float, sd: float) -> float:
    """Convert a rise of mean NLL to a rise of perplexity."""
    return math.expm1(min(size * sd, 700.0))


def fall_of_length(size: float, sd: float) -> float:
    """Convert a fall of log length to a fall of length."""
    return -math.expm1(-size * sd)


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


def share_of(words: str, signal: str, *, falls: bool = False) -> Family:
    """Return a fault that hits a share of the requests."""
    fault = Fault(signal=signal, falls=falls, share=True)
    return Family(words=words, fault=fault, unit=Unit.SHARE, told=as_it_is)
