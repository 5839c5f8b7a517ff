"""`input_similarity`: requests unlike anything the adapter was trained for."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.comparison import Comparison
from detectors.rank_detector import RankDetector, largest_worsening
from detectors.scores import Side


def _unlike_training(compared: Sequence[Comparison]) -> dict[str, object]:
    similar = [each for each in compared if each.signal == "similarity" and each.n]
    return {
        "unlike_training": {
            point: {"count": count, "share": count / each.n, "expected": expected}
            for each in similar
            for point, count, expected in (
                ("below_p1", each.below_1, each.tails["bottom1%"][1]),
                ("below_p5", each.below_5, each.tails["bottom5%"][1]),
            )
        }
    }


INPUT_SIMILARITY = RankDetector(
    name="input_similarity",
    signals=("similarity",),
    sides={"similarity": Side.DOWN},
    pages=False,
    shown=largest_worsening,
    details=_unlike_training,
)
"""Cosine to the nearest training example, against *held-out* baseline similarities.

Only a fall is drift: its mean rank and its 1 % and 5 % lower tails are scored. It opens
tickets and never pages: new questions are not the model's fault. An absolute threshold is
not used: the level depends on the size of the index (.63 with 77 texts, .90 with 10,003).

Shown: Cliff's delta of the fall, in [0, 1]: the calibrated drop of the mean similarity.
``details["unlike_training"]`` counts requests below the baseline's 1 % and 5 % points.
"""
