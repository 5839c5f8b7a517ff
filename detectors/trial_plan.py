"""Plan a trial that can be decided: its share of the traffic, and its duration.

Derived from the bounds of :mod:`detectors.trial` in closed form: with the trial planned for exactly
that information V, the drop is seen with a probability of ``POWER`` once ``drop - bar >= (c +
z)/sqrt(V)``, where c is the bounds' half-width in standard errors and z the normal point of
``POWER``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import scipy

from detectors.trial import half_width

POWER: Final = 0.9
WEIGHTS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
"""The shares of traffic that a plan considers."""
FEWEST_TO_PROMOTE: Final = 200
"""The fewest requests of a trial before a promotion."""
ALPHA: Final = 0.05
"""Accepted false rollbacks of a trial, divided over its guardrails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The question that a trial is to answer.

    rate
        Share of requests that succeed now, in (0, 1).
    drop
        Fall of the rate that must be seen, in (0, rate].
    margin
        Fall up to which the trial may still be promoted, in (0, 1).
    critical
        True if any proven fall rolls back; else only one beyond the margin does.
    guardrails
        Number of metrics watched, at least 1: they share the accepted false rollbacks.
    requests_per_day
        Of the adapter, all arms together; above 0.
    """

    rate: float
    drop: float
    margin: float
    critical: bool
    guardrails: int
    requests_per_day: float

    def __post_init__(self) -> None:
        checks = (
            ("rate", "between 0 and 1", self.rate, 0.0 < self.rate < 1.0),
            ("margin", "between 0 and 1", self.margin, 0.0 < self.margin < 1.0),
            (
                "drop",
                f"above {self.bar:g} and at most the rate",
                self.drop,
                self.bar < self.drop <= self.rate,
            ),
            ("guardrails", "at least 1", self.guardrails, self.guardrails >= 1),
            (
                "requests_per_day",
                "above 0",
                self.requests_per_day,
                0.0 < self.requests_per_day < math.inf,
            ),
        )
        wrong = [
            f"{name} must be {what}, not {it:g}" for name, what, it, fine in checks if not fine
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def bar(self) -> float:
        """The fall that the bounds must exceed to roll back."""
        return 0.0 if self.critical else self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One weight, with the trial's requests and days until either answer.

    ``to_see`` is the drop seen with a probability of 90 %; ``to_promote`` no fall beyond
    the margin proven with 90 % where there is none.
    """

    weight: float
    requests_to_see: int
    days_to_see: float
    requests_to_promote: int
    days_to_promote: float

    @property
    def days(self) -> float:
        """Days until a verdict, whichever it is."""
        return max(self.days_to_see, self.days_to_promote)


def choices(wanted: Wanted, weights: Sequence[float] = WEIGHTS) -> tuple[Choice, ...]:
    """Compute every weight, in the order given; each in (0, 1)."""
    return tuple(_choice(wanted, weight) for weight in weights)


def choose(found: Sequence[Choice], *, within_days: float) -> Choice | None:
    """Return the smallest weight with a verdict in time, which risks the fewest requests."""
    timely = [choice for choice in found if choice.days <= within_days]
    return min(timely, key=lambda choice: choice.weight, default=None)


def detectable_drop(wanted: Wanted, *, weight: float, days: float) -> float:
    """Return the smallest fall of the rate that would be seen with a probability of 90 %.

    ``wanted.drop`` is not used. 1 or more means that none would be.
    """
    requests = wanted.requests_per_day * weight * days
    per_request = _variance(wanted, weight=weight, fallen=wanted.rate)
    return wanted.bar + _errors(wanted) * math.sqrt(per_request / requests)


def _choice(wanted: Wanted, weight: float) -> Choice:
    fallen = _variance(wanted, weight=weight, fallen=wanted.rate - wanted.drop)
    same = _variance(wanted, weight=weight, fallen=wanted.rate)
    to_see = math.ceil(fallen * (_errors(wanted) / (wanted.drop - wanted.bar)) ** 2)
    to_promote = math.ceil(same * (_errors(wanted) / wanted.margin) ** 2)
    to_promote = max(to_promote, FEWEST_TO_PROMOTE)
    per_day = wanted.requests_per_day * weight
    return Choice(
        weight=weight,
        requests_to_see=to_see,
        days_to_see=to_see / per_day,
        requests_to_promote=to_promote,
        days_to_promote=to_promote / per_day,
    )


def _errors(wanted: Wanted) -> float:
    """Return the standard errors above its bar at which a fall is seen with ``POWER``."""
    alpha = ALPHA / wanted.guardrails
    return half_width(1.0, alpha=alpha, planned=1.0) + float(scipy.special.ndtri(POWER))


def _variance(wanted: Wanted, *, weight: float, fallen: float) -> float:
    """Return the variance of the difference, times the trial's requests."""
    control = wanted.rate * (1.0 - wanted.rate) * weight / (1.0 - weight)
    return fallen * (1.0 - fallen) + control
