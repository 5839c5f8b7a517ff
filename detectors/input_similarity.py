"""`input_similarity`: requests unlike the adapter's training examples."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.comparison import Comparison
from detectors.faults import share_of
from detectors.profile import DetectorSide, Phrases, Profile
from detectors.rank_detector import RankDetector, largest_worsening
from detectors.scores import DriftSide
from detectors.signals import SIMILARITY, TOPICS
from detectors.textbook import Threshold, mean_of


def _unlike_training(compared: Sequence[Comparison]) -> dict[str, object]:
    similar = [each for each in compared if each.signal == SIMILARITY and each.n]
    return {
        "unlike_training": {
            point: {"count": count, "share": count / each.n, "expected": expected}
            for each in similar
            for point, count, expected in (
                ("below_p1", each.below(0.01), each.tails["bottom1%"][1]),
                ("below_p5", each.below(0.05), each.tails["bottom5%"][1]),
            )
        }
    }


INPUT_SIMILARITY = RankDetector(
    name="input_similarity",
    signals=(SIMILARITY, *TOPICS),
    sides={SIMILARITY: DriftSide.DOWN} | dict.fromkeys(TOPICS, DriftSide.EITHER),
    lead=SIMILARITY,
    pages=False,
    shown=largest_worsening,
    details=_unlike_training,
    profile=Profile(
        rank=3,
        side=DetectorSide.REQUESTS,
        words=Phrases(
            "similarity to training examples",
            "requests closer to the training examples",
            "requests unlike the training examples",
            "users ask other things",
        ),
        either_way=True,
        telling=(SIMILARITY,),
        threshold=Threshold(what="mean similarity", limit=0.7, value=mean_of(SIMILARITY)),
        faults=(share_of("requests of new topics", SIMILARITY, falls=True),),
    ),
)
"""Cosine to the nearest training example, against *held-out* baseline similarities, and
coordinates along the principal axes of the training index.

Of the similarity only a fall is drift: its mean rank and its 1 % and 5 % lower tails are
scored. Coordinates count both ways: a mix of known topics that shifts moves them, and the
similarity not at all. Half of the capital is bet on the similarity, which costs it .7 nats
of the 12 or so that an alarm takes. It opens tickets and never pages: new questions are not
the model's fault. An absolute threshold is not used: the level depends on the size of the
index (.63 with 77 texts, .90 with 10,003).

Shown: Cliff's delta, in [0, 1], of the fall, or of the coordinate that surely moved more.
``details["unlike_training"]`` counts requests below the baseline's 1 % and 5 % points.
Power: ``benchmarks/statistics/input_drift.py``.
"""
