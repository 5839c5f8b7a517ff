"""`feedback`: ratings by people, judges and business metrics."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.profile import DetectorSide, Phrases, Profile
from detectors.rank_detector import RankDetector, largest_worsening
from detectors.scores import DriftSide

HIGHER = "higher_is_better."
LOWER = "lower_is_better."


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """Names of the compared feedback, by which direction is better.

    The direction is part of a signal's name: a reference frozen under the other direction lacks the
    signal, instead of reading it the wrong way round.

    >>> Directions(higher_is_better=("solved",), lower_is_better=("edits",)).signals
    {'solved': 'higher_is_better.solved', 'edits': 'lower_is_better.edits'}
    """

    higher_is_better: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()

    @property
    def signals(self) -> dict[str, str]:
        """Return the signal of each name."""
        return {name: f"{HIGHER}{name}" for name in self.higher_is_better} | {
            name: f"{LOWER}{name}" for name in self.lower_is_better
        }


FEEDBACK = RankDetector(
    name="feedback",
    signals=(),
    families={HIGHER: DriftSide.DOWN, LOWER: DriftSide.UP},
    shown=largest_worsening,
    profile=Profile(
        side=DetectorSide.FEEDBACK,
        words=Phrases("feedback", "feedback worse", "feedback worse", "feedback changed"),
        either_way=True,
    ),
)
"""Each named number beside the reference's numbers of that name; only worse is drift.

A name of two values (solved or not) is a rate: Cliff's delta is then the difference of
rates. Numbers that come late count when they come, each once: a window holds what has come
since the last one, about whatever records, and their own times decide about rhythm.

Whoever handles the arrivals themselves (marks them as read, settles them, lets them pass from
one reference to the next) names this detector: they have one reader.

It speaks of what answers are worth, not of what they are: it opens tickets and pages, and
never moves traffic.

Shown: Cliff's delta of the worsening, in [0, 1].
"""
