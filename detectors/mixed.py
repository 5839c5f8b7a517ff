"""Score a window of several settings, each part against its own reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from detectors import evidence
from detectors.detector import Detector
from detectors.types import Budget, Effect, Floats, Process, Score, State, Window

Parts = Sequence[tuple[Any, Window]]
"""One detector's references, each with the records that are compared with it."""
_LEAST_PART: Final = 0.1


def score_mixed(
    detector: Detector[Any],
    parts: Parts,
    state: State,
    budget: Budget,
) -> tuple[Score, State]:
    """Absorb a window whose records belong to different references into one process.

    Has any score's conditional mean left what the reference of its own settings allows? The
    increments of the parts are added up: given the past, each factor's expectation is at most 1
    under its own null, so their product's is, and the budget holds for all parts together. That
    takes parts that are independent given the past: a day that moves both together is divided by
    each part's own design effect. What is shown is the part that moved most surely.

    Parameters
    ----------
    parts
        References and the records that are compared with them: the reference in force first, no
        record in two of them. All references have the same scores; one that has not adds nothing.
    """
    (reference, window), *others = parts
    own, after = detector.score(reference, window, state, budget)
    names = detector.names(reference)
    alike = [(ref, part) for ref, part in others if len(part) and detector.names(ref) == names]
    if not alike or own.details.get("refused"):
        return own, after
    scores = [own, *(detector.score(ref, part, State(), budget)[0] for ref, part in alike)]
    grown = {p: _added([one.increments[p] for one in scores]) for p in own.increments}
    units = sum(one.n_window for one in scores)
    step = evidence.absorb(
        reference.null, state, window, grown, units=dict.fromkeys(grown, units), budget=budget
    )
    shown = max(_told([one for one in scores if one.n_window] or [own]), key=_surely_worse)
    return replace(
        shown,
        evidence_notice=step.evidence[Process.NOTICE],
        evidence_page=step.evidence.get(Process.PAGE, -np.inf),
        n_window=units,
        winner=step.winner,
        increments=step.increments,
        details={**shown.details, "parts": [one.n_window for one in scores]},
    ), step.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """The effects of a window's parts: the one that surely moved most, and the highest possible."""

    worst: Effect
    part: int
    """The part it belongs to; 0 is the reference in force."""
    highest: Effect


def effect_mixed(detector: Detector[Any], parts: Parts) -> Mixed:
    """Compare all records of a window, each with the reference of its settings.

    A part with less than a tenth of the records says too little by itself. The worst is the part
    with the highest lower limit: a healthy majority must not hide a broken part. The highest is the
    one with the highest upper limit: all parts must be well again.
    """
    found = [
        (detector.effect_since(reference, window), number)
        for number, (reference, window) in enumerate(parts)
        if len(window)
    ]
    known = [(effect, number) for effect, number in found if effect.n]
    if not known:
        return Mixed(worst=Effect.unknown(), part=0, highest=Effect.unknown())
    least = _LEAST_PART * sum(effect.n for effect, _ in known)
    told = [(effect, number) for effect, number in known if effect.n >= least]
    worst, part = max(told, key=lambda one: one[0].lo)
    return Mixed(
        worst=worst, part=part, highest=max((effect for effect, _ in told), key=lambda e: e.hi)
    )


def _told(scores: Sequence[Score]) -> list[Score]:
    least = _LEAST_PART * sum(one.n_window for one in scores)
    return [one for one in scores if one.n_window >= least]


def _surely_worse(score: Score) -> float:
    low = score.interval[0]
    return low if np.isfinite(low) else -np.inf


def _added(parts: Sequence[Floats]) -> Floats:
    return np.asarray(np.sum(parts, axis=0))
