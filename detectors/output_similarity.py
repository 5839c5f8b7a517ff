"""`output_similarity`: answers about other things than the reference's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detectors.axes import Axes, coordinates, distance
from detectors.faults import share_of
from detectors.profile import Phrases, Profile
from detectors.rank_detector import RankDetector, largest_worsening
from detectors.scores import DriftSide
from detectors.signals import ANSWERS, DISTANCE
from detectors.types import Floats


def place_answers(axes: Axes, vectors: npt.NDArray[np.floating]) -> Floats:
    """Return signals ``(n, 13)`` of answers' vectors ``(n, d)``, in the order of ``ANSWERS``."""
    return np.column_stack([distance(axes, vectors), coordinates(axes, vectors)])


OUTPUT_SIMILARITY = RankDetector(
    name="output_similarity",
    signals=ANSWERS,
    sides={DISTANCE: DriftSide.UP} | dict.fromkeys(ANSWERS[1:], DriftSide.EITHER),
    lead=DISTANCE,
    pages=False,
    shown=largest_worsening,
    profile=Profile(
        rank=4,
        follows_requests=True,
        words=Phrases(
            "similarity of answers",
            "answers unlike those it was approved with",
            "answers talk of other things",
            "answers talk of other things",
        ),
        either_way=True,
        telling=(DISTANCE,),
        faults=(share_of("answers of new kinds", DISTANCE),),
    ),
)
"""Embeddings of answers along the principal axes of the baseline's early answers, against
those of its later ones.

Of the distance from the axes only a rise is drift: half of the capital is bet on it. The
coordinates count both ways, and see a shift of the mix among known kinds of answers. There
is no index of answers: what it would add to the axes costs a search per record.

It opens tickets and never pages: new questions have new answers, and the model may be as
good as ever.

Shown: Cliff's delta, in [0, 1], of the rise, or of the coordinate that surely moved more.
"""
