"""`entropy`: answers more diffuse than before, or collapsed."""

from __future__ import annotations

from detectors.faults import Family, Fault, Unit, in_units
from detectors.profile import Profile
from detectors.rank_detector import RankDetector
from detectors.signals import SIGNALS
from detectors.textbook import SMALLEST_P_VALUE

ENTROPY = RankDetector(
    name="entropy",
    signals=("entropy", "margin"),
    profile=Profile(
        rank=2,
        words=SIGNALS["entropy"].words,
        either_way=True,
        threshold=SMALLEST_P_VALUE,
        faults=(
            Family(
                words="all answers more diffuse, by entropy",
                fault=Fault(signal="entropy"),
                unit=Unit.NATS,
                told=in_units,
            ),
        ),
    ),
)
"""Mean token entropy and margin (top-1 less top-2 logprob), where top-k logprobs came.

Both directions count: a collapsed model is as wrong as a diffuse one. Entropy over top-k is
a lower bound of the true entropy, comparable only within one k. Capture takes the best five
of whatever came, so any k from 5 on is the same; a sender that changes to fewer looks like
drift. Shown: the larger KS distance, in [0, 1].
"""
