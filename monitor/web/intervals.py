"""Coordinates of the guardrails' intervals in an SVG. Pure.

There are two pictures. The *rack* puts every guardrail on one axis in units of its own
margin, so that one line is the margin of all. The *band* shows one guardrail over all
looks, in its own unit, with both bounds closing in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from alerts.words import often
from monitor.traffic.trial.guards import GuardKind

RACK_WIDTH: Final = 400.0
RACK_FROM: Final = -2.0
RACK_TO: Final = 3.0
"""Ends of the rack in margins; intervals beyond them are cut off and marked."""
BAND_WIDTH: Final = 320.0
BAND_HEIGHT: Final = 110.0
LEAST_REACH: Final = 2.0
MOST_REACH: Final = 8.0
"""Most margins that a band shows to either side: enough for the later half of its bounds."""
MOST_POINTS: Final = 160

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RackPlace:
    """One guardrail's interval on the rack; x in [0, ``RACK_WIDTH``].

    ``cut_low`` and ``cut_high``: the interval continues beyond the end.
    """

    lo: float
    value: float
    hi: float
    bar: float
    cut_low: bool
    cut_high: bool


def rack_x(margins: float) -> float:
    """Return the x of a degradation in margins, cut off at the ends.

    >>> rack_x(-2.0), rack_x(0.5), rack_x(9.0)
    (0.0, 200.0, 400.0)
    """
    share = (margins - RACK_FROM) / (RACK_TO - RACK_FROM)
    return round(RACK_WIDTH * min(1.0, max(0.0, share)), 2)


def rack_place(*, lo: float, value: float, hi: float, bar: float, margin: float) -> RackPlace:
    """Place an interval; ``margin`` above 0.

    >>> place = rack_place(lo=-0.2, value=0.0, hi=0.05, bar=0.05, margin=0.05)
    >>> place.lo, place.value, place.hi, place.cut_low, place.cut_high
    (0.0, 160.0, 240.0, True, False)
    """
    return RackPlace(
        lo=rack_x(lo / margin),
        value=rack_x(value / margin),
        hi=rack_x(hi / margin),
        bar=rack_x(bar / margin),
        cut_low=lo / margin < RACK_FROM,
        cut_high=hi / margin > RACK_TO,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLook:
    """One guardrail at one look; None: unknown at that look."""

    at: datetime
    lo: float | None
    value: float | None
    hi: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Looks without a gap: the band as a polygon, the value as a line; SVG point lists."""

    band: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A guardrail over all looks; y grows downwards in [0, ``BAND_HEIGHT``].

    steps
        x of each step's beginning after the first.
    now
        x of the last look, with its bounds; None where that look measured none.
    """

    stretches: Sequence[Stretch]
    margin: float
    bar: float
    zero: float
    steps: Sequence[float]
    now: tuple[float, float, float, float] | None
    reach: float
    """Length of the axis to either side, in the guardrail's unit."""


def band(
    looks: Sequence[GuardLook],
    *,
    margin: float,
    bar: float,
    since: datetime,
    until: datetime,
    steps: Sequence[datetime] = (),
) -> Band:
    """Draw a guardrail from ``since`` to ``until``; looks in the order of time.

    Values beyond the axis are drawn at its end: the first bounds are very wide.
    """
    reach = margin * _reach(looks, margin)
    span = max((until - since).total_seconds(), 1.0)

    def x(at: datetime) -> float:
        return round(BAND_WIDTH * min(1.0, max(0.0, (at - since).total_seconds() / span)), 1)

    def y(value: float) -> float:
        share = 0.5 - value / (2.0 * reach)
        return round(BAND_HEIGHT * min(1.0, max(0.0, share)), 1)

    placed = [
        None
        if look.lo is None or look.value is None or look.hi is None
        else (x(look.at), y(look.lo), y(look.value), y(look.hi))
        for look in thinned(looks)
    ]
    return Band(
        stretches=_stretches(placed),
        margin=y(margin),
        bar=y(bar),
        zero=y(0.0),
        steps=[x(at) for at in steps if since < at < until],
        now=placed[-1] if placed else None,
        reach=reach,
    )


def thinned(looks: Sequence[_T], most: int = MOST_POINTS) -> Sequence[_T]:
    """Leave out looks evenly where there are more than ``most``; never the last.

    >>> thinned([1, 2, 3, 4, 5], most=3)
    [1, 3, 5]
    """
    every = -(-len(looks) // most)
    return looks if every <= 1 else looks[::-1][::every][::-1]


def amount(value: float | None, kind: GuardKind | None) -> str:
    """Write a degradation in its unit: points of a rate, or comparisons that show it.

    >>> amount(0.0312, GuardKind.RATE), amount(0.2, GuardKind.RANK)
    ('+3.1', '60')
    """
    if value is None:
        return "\N{EN DASH}"
    if kind is not GuardKind.RATE:
        return f"{often(value):.0f}"
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def unit(kind: GuardKind | None) -> str:
    """Name the unit of :func:`amount`."""
    return "points" if kind is GuardKind.RATE else "of 100 comparisons"


def _reach(looks: Sequence[GuardLook], margin: float) -> float:
    later = looks[len(looks) // 2 :]
    bounds = [abs(end) for look in later for end in (look.lo, look.hi) if end is not None]
    widest = 1.1 * max(bounds, default=0.0) / margin
    return min(MOST_REACH, max(LEAST_REACH, widest))


_Placed = tuple[float, float, float, float]


def _stretches(placed: Sequence[_Placed | None]) -> list[Stretch]:
    runs: list[list[_Placed]] = [[]]
    for place in placed:
        if place is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return [_stretch(run) for run in runs if run]


def _stretch(run: Sequence[_Placed]) -> Stretch:
    lower = [f"{x},{lo}" for x, lo, _, _ in run]
    upper = [f"{x},{hi}" for x, _, _, hi in run]
    return Stretch(
        band=" ".join([*upper, *reversed(lower)]),
        line=" ".join(f"{x},{value}" for x, _, value, _ in run),
    )
