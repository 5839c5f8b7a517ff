"""`logit_ks`: a changed distribution of the answers' confidences."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.comparison import Comparison
from detectors.faults import Family, Fault, Unit, fall_of_length, rise_of_perplexity, share_of
from detectors.profile import Phrases, Profile
from detectors.rank_detector import RankDetector
from detectors.textbook import SMALLEST_P_VALUE


def _worst_tail(compared: Sequence[Comparison]) -> dict[str, object]:
    return {"worst_tail_ratio": max((each.tail_ratio for each in compared), default=1.0)}


LOGIT_KS = RankDetector(
    name="logit_ks",
    signals=("mean_nll", "p95_nll", "near_certain", "log_length"),
    details=_worst_tail,
    profile=Profile(
        rank=1,
        words=Phrases.of("certainty of answers", "confidence of answers changed"),
        either_way=True,
        telling=("mean_nll",),
        threshold=SMALLEST_P_VALUE,
        faults=(
            Family(
                words="all answers less certain, by perplexity",
                fault=Fault(signal="mean_nll"),
                unit=Unit.RATIO,
                told=rise_of_perplexity,
            ),
            share_of("answers that are garbage", "mean_nll"),
            Family(
                words="all answers shorter",
                fault=Fault(signal="log_length", falls=True),
                unit=Unit.RATIO,
                told=fall_of_length,
            ),
        ),
    ),
)
"""Request summaries of token logprobs against the reference's.

The unit is the request: tokens of one answer move together, and a KS test on tokens alarms
at two of three checks when nothing has happened. Raw logits are never compared (a constant
per position leaves the softmax identical); logprobs are.

Shown: the largest KS distance D of the summaries, in [0, 1]. At n requests its noise is
about ``.87 / sqrt(n)``: .14 for 40 and .03 for a day of 1,000. ``details`` adds Cliff's
delta per summary and the worst tail ratio: how many times more often than in the reference
requests fall in a 1 % or 5 % tail.
"""
