"""Scores of one signal."""

from detectors.scores import DriftSide, kinds_of, scores_named
from detectors.types import Floats


def rank_scores(u: Floats, side: DriftSide) -> Floats:
    """Score mid-ranks ``(n,)`` of one signal; ``(n, K)``."""
    return scores_named(u[:, None], kinds_of((side,)))
