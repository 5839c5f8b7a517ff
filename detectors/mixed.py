"""A window whose requests have several settings, each part against a reference of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detectors import evidence
from detectors.types import Budget, Detector, Effect, Floats, Process, Score, State, Window

Parts = Sequence[tuple[Any, Window]]
"""References of one detector, each with the records that are compared with it."""


def score_mixed(
    detector: Detector[Any],
    parts: Parts,
    state: State,
    budget: Budget,
) -> tuple[Score, State]:
    """Absorb a window whose records belong to different references into one process.

    Has any score's conditional mean left what the reference of its own settings allows? The
    increments of the parts are added up: given the past, each factor's expectation is at most 1
    under its own null, so their product's is, and the budget holds for all parts together. What
    is shown, its effect and interval, is that of the part with most units.

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
    shown = max(scores, key=lambda one: one.n_window)
    return replace(
        shown,
        evidence_notice=step.evidence[Process.NOTICE],
        evidence_page=step.evidence.get(Process.PAGE, -np.inf),
        n_window=units,
        winner=step.winner,
        increments=step.increments,
        details={**shown.details, "parts": [one.n_window for one in scores]},
    ), step.state


def effect_mixed(detector: Detector[Any], parts: Parts) -> Effect:
    """Compare all records of a window, each with the reference of its settings.

    The effect is that of the part with most units behind it.
    """
    found = [detector.effect_since(reference, window) for reference, window in parts if len(window)]
    return max(found, key=lambda effect: effect.n, default=Effect.unknown())


def _added(parts: Sequence[Floats]) -> Floats:
    return np.asarray(np.sum(parts, axis=0))
