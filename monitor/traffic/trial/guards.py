"""The guardrails of a canary: each signal with its direction and its margin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from detectors.feedback import Directions
from detectors.signals import SIGNALS as KNOWN
from detectors.signals import Guarding, SignalKind
from detectors.words import signal_words, worse_words

FEEDBACK: Final = "feedback."
"""Prefix of guardrails on feedback: ``feedback.solved``."""


class GuardKind(StrEnum):
    """The ways to compare both arms.

    RATE compares the difference of shares. RANK gives Cliff's delta, which neither outliers
    nor units change. HARD counts failures that are too rare for either.
    """

    RATE = "rate"
    RANK = "rank"
    HARD = "hard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One guardrail. ``critical``: any proven worsening rolls back, however small.

    ``kind`` None: the values decide it, at the first look that can (numbers of feedback).
    """

    name: str
    kind: GuardKind | None
    higher_is_better: bool = False
    critical: bool = False

    @property
    def dispensable(self) -> bool:
        """True if a shadow ignores this signal: people rate only answers they have seen."""
        return self.name.startswith(FEEDBACK) and not self.critical


def guard_words(name: str) -> str:
    """Return what a guardrail measures, in a few words.

    >>> guard_words("mean_nll"), guard_words("feedback.solved")
    ('certainty of answers', 'solved (feedback)')
    """
    if name.startswith(FEEDBACK):
        return f"{name.removeprefix(FEEDBACK).replace('_', ' ')} (feedback)"
    return signal_words(name)


def guard_worse_words(name: str) -> str:
    """Say that a guardrail is worse on the canary.

    >>> guard_worse_words("latency_ms"), guard_worse_words("feedback.solved")
    ('answers slower', 'solved (feedback) worse')
    """
    return f"{guard_words(name)} worse" if name.startswith(FEEDBACK) else worse_words(name)


def _guarding(*when: Guarding) -> tuple[str, ...]:
    return tuple(name for name, one in KNOWN.items() if one.guarding in when)


HARD: Final = _guarding(Guarding.ALWAYS)
"""Hard guardrails, which every canary has."""
DEFAULT: Final = _guarding(Guarding.USUALLY)
SIGNALS: Final[Mapping[str, GuardKind]] = {
    name: GuardKind.RATE if KNOWN[name].kind is SignalKind.FLAG else GuardKind.RANK
    for name in _guarding(Guarding.USUALLY, Guarding.IF_CHOSEN)
}
"""Signals of records that may be guardrails; more is worse in each."""

HARD_SHARE: Final = 0.2
"""Share of the accepted false rollbacks for the hard guardrails. Their evidence grows with each
failure, so a small share delays them by only a failure or two."""


def alphas(guards: Sequence[Guard], alpha: float) -> dict[str, float]:
    """Divide the accepted false rollbacks over guardrails, each in (0, 1).

    >>> found = alphas(guards_of(["mean_nll"], Directions(), []), 0.05)
    >>> round(found["mean_nll"], 3), round(found["error"], 4), round(sum(found.values()), 3)
    (0.04, 0.0025, 0.05)
    """
    hard = [guard.name for guard in guards if guard.kind is GuardKind.HARD]
    soft = [guard.name for guard in guards if guard.kind is not GuardKind.HARD]
    kept = HARD_SHARE if hard and soft else float(bool(hard))
    shares = {name: alpha * kept / len(hard) for name in hard}
    return shares | {name: alpha * (1.0 - kept) / len(soft) for name in soft}


def held_to(guards: Sequence[Guard], *, shadow: bool) -> list[Guard]:
    """Leave out the guardrails that copies cannot measure, such as waiting time.

    Copies wait for their originals, and no user waits for them. Where engines are full, a
    shadow version is even loaded anew for each copy.
    """
    return [guard for guard in guards if not (shadow and _waited_for(guard.name))]


def _waited_for(name: str) -> bool:
    return name in KNOWN and KNOWN[name].waited_for


def as_equals(guards: Sequence[Guard]) -> int:
    """Return how many guardrails of the smallest soft share use up the budget, for plans.

    >>> as_equals(guards_of(["mean_nll", "entropy"], Directions(), []))
    3
    """
    shares = alphas(guards, 1.0)
    soft = [shares[guard.name] for guard in guards if guard.kind is not GuardKind.HARD]
    return math.ceil(1.0 / min(soft)) if soft else 1


def guards_of(
    signals: Sequence[str], directions: Directions, critical: Sequence[str]
) -> tuple[Guard, ...]:
    """List a canary's guardrails, the hard ones last.

    >>> named = guards_of(
    ...     ["mean_nll"], Directions(higher_is_better=("solved",)), ["feedback.solved"]
    ... )
    >>> [(guard.name, guard.critical) for guard in named][:2]
    [('feedback.solved', True), ('mean_nll', False)]

    Raises
    ------
    ValueError
        A signal that cannot be a guardrail.
    """
    strange = [name for name in signals if name not in SIGNALS]
    if strange:
        known = ", ".join(SIGNALS)
        raise ValueError(f"no guardrail: {', '.join(strange)}; there are {known}")
    given = [(name, True) for name in directions.higher_is_better]
    given += [(name, False) for name in directions.lower_is_better]
    return (
        *(
            Guard(
                name=f"{FEEDBACK}{name}",
                kind=None,
                higher_is_better=higher,
                critical=f"{FEEDBACK}{name}" in critical,
            )
            for name, higher in given
        ),
        *(Guard(name=name, kind=SIGNALS[name], critical=name in critical) for name in signals),
        *(Guard(name=name, kind=GuardKind.HARD) for name in HARD),
    )
