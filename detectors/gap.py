"""Judge how much better a model knows its training texts than texts held out of them.

Both sets are read by the model; each text gives a sum of negative log-likelihoods over its tokens.
The mean per token of a set is a ratio of two sums over texts, so its variance comes from texts, not
from tokens, which are dependent within a text (Cochran 1977, *Sampling Techniques*, 6.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detectors.checks import Check, CheckVerdict
from detectors.perplexity import DocumentScores

NORMAL_95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
FEWEST = 20
"""Texts of each set from which an interval is worth showing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapLimits:
    """The limits of the gap; beyond either, surely, is refused.

    nats
        Held-out minus training, nats per token.
    share
        The same over the training's.
    """

    nats: float = 0.1
    share: float = 0.1

    @property
    def problems(self) -> list[str]:
        """List the limits that nothing could meet, each with its key."""
        return [
            f"{name}: must not be negative" for name in ("nats", "share") if getattr(self, name) < 0
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanNll:
    """Mean nats per token of a set of texts, its standard error, and how many texts were read."""

    mean: float
    error: float
    texts: int


def mean_nll(scores: DocumentScores) -> MeanNll:
    """Return the mean over tokens; texts that were not read count nothing.

    >>> every = DocumentScores(
    ...     sum_nll=np.full(9, 20.0), tokens=np.full(9, 10.0), size_bytes=np.full(9, 40.0)
    ... )
    >>> mean_nll(every)
    MeanNll(mean=2.0, error=0.0, texts=9)
    """
    known = np.isfinite(scores.sum_nll) & (scores.tokens > 0)
    sums, tokens = scores.sum_nll[known], scores.tokens[known]
    count = len(sums)
    if count < 2:  # noqa: PLR2004 (a variance needs two)
        return MeanNll(mean=math.nan, error=math.nan, texts=count)
    mean = float(sums.sum() / tokens.sum())
    left = sums - mean * tokens
    variance = float(np.sum(left * left)) * count / (count - 1) / float(tokens.sum()) ** 2
    return MeanNll(mean=mean, error=math.sqrt(variance), texts=count)


def gap_check(training: DocumentScores, held_out: DocumentScores, limits: GapLimits) -> Check:
    """Compare held-out texts with training texts: refuse a gap that is surely beyond a limit.

    The gap ``H - T`` is refused where the lower end of its 95 % interval is above ``nats``, or the
    lower end of ``H - (1 + share) T`` is above 0. Where only the estimate is beyond a limit, that
    is a warning. A gap at a limit is refused in 2.5 % of cases; of sound adapters fewer are. With
    200 texts of each kind whose means vary by .3 nats, a gap of .2 is refused in 86 % of cases.
    """
    one, other = mean_nll(training), mean_nll(held_out)
    limit = f"<= {limits.nats:g} nats and {limits.share:.0%}, surely"
    if min(one.texts, other.texts) < FEWEST:
        reason = (
            f"{one.texts} training and {other.texts} held-out texts were read; {FEWEST} of each"
        )
        return Check(
            name="gap", limit=limit, verdict=CheckVerdict.SKIPPED, reason=f"{reason} are needed"
        )
    gap, error = other.mean - one.mean, math.hypot(one.error, other.error)
    low, high = gap - NORMAL_95 * error, gap + NORMAL_95 * error
    over = other.mean - (1.0 + limits.share) * one.mean
    over_low = over - NORMAL_95 * math.hypot((1.0 + limits.share) * one.error, other.error)
    verdict = CheckVerdict.WARN if gap > limits.nats or over > 0.0 else CheckVerdict.PASS
    if low > limits.nats or over_low > 0.0:
        verdict = CheckVerdict.REFUSE
    return Check(
        name="gap",
        number=gap,
        limit=limit,
        verdict=verdict,
        reason=(
            f"held-out texts cost {gap:+.3f} nats per token more ({low:+.3f} to {high:+.3f}),"
            f" {gap / one.mean:+.1%}: {other.mean:.3f} against {one.mean:.3f}"
        ),
        details={
            "interval": [low, high],
            "training": one.mean,
            "held_out": other.mean,
            "texts": [one.texts, other.texts],
        },
    )
