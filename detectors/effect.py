"""Judge what an adapter changes: its own texts for the better, general ones not for the worse.

The adapter and its base read the same texts, so the texts' difficulty cancels: the difference per
token is a ratio of two sums over texts, and its variance comes from texts (Cochran 1977, *Sampling
Techniques*, 6.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from detectors.checks import Check, CheckVerdict
from detectors.gap import FEWEST, NORMAL_95, MeanNll, mean_nll
from detectors.perplexity import DocumentScores

EFFECT = "effect"
GENERAL = "general"
EARLIER = "earlier"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectLimits:
    """The limits of an adapter's effect, in nats per token against its base.

    least
        Own held-out texts must surely cost less than the base's by more than this.
    general
        General texts may cost so much more; surely beyond it is refused.
    earlier
        Texts of earlier training may cost so much more than with the parent; surely beyond it is
        refused.
    """

    least: float = 0.0
    general: float = 0.2
    earlier: float = 0.1

    @property
    def problems(self) -> list[str]:
        """List the limits that nothing could meet, each with its key."""
        names = ("least", "general", "earlier")
        return [f"{name}: must not be negative" for name in names if getattr(self, name) < 0]


def more_nll(one: DocumentScores, other: DocumentScores) -> MeanNll:
    """Return how many nats per token ``other`` needs more for the same texts, in the same order.

    Texts that either has not read count nothing. Tokens are those of ``one``: an adapter has the
    tokenizer of its base.

    >>> import numpy as np
    >>> def read(nats):
    ...     sums = np.full(9, nats)
    ...     return DocumentScores(sum_nll=sums, tokens=np.full(9, 10.0), size_bytes=sums)
    >>> more_nll(read(20.0), read(25.0))
    MeanNll(mean=0.5, error=0.0, texts=9)
    """
    return mean_nll(
        DocumentScores(
            sum_nll=other.sum_nll - one.sum_nll, tokens=one.tokens, size_bytes=one.size_bytes
        )
    )


def effect_check(base: DocumentScores, adapter: DocumentScores, limits: EffectLimits) -> Check:
    """Ask whether own held-out texts cost the adapter less than its base.

    The gain is refused where the upper end of its 95 % interval is not above ``least``, and warned
    about where only the lower end is not. A gain exactly at ``least`` is refused in 2.5 % of cases.
    """
    gain = more_nll(adapter, base)
    limit = f"> {limits.least:g} nats"
    if gain.texts < FEWEST:
        return _too_few(EFFECT, limit, gain.texts, "held-out")
    low, high = _ends(gain)
    verdict = CheckVerdict.PASS if low > limits.least else CheckVerdict.WARN
    if not high > limits.least:
        verdict = CheckVerdict.REFUSE
    return Check(
        name=EFFECT,
        number=gain.mean,
        limit=limit,
        verdict=verdict,
        reason=(
            f"on own texts it saves {gain.mean:+.3f} nats per token"
            f" {_between(low, high, 'its base')}"
        ),
        details={"interval": [low, high], "texts": gain.texts},
    )


def general_check(base: DocumentScores, adapter: DocumentScores, limits: EffectLimits) -> Check:
    """Ask whether general texts cost the adapter more than its base.

    The loss is refused where the lower end of its 95 % interval is above ``general``, and warned
    about where only the estimate is. A loss exactly at the limit is refused in 2.5 % of cases.
    """
    return _loss_check(GENERAL, base, adapter, limits.general, kind="general", against="its base")


def earlier_check(parent: DocumentScores, adapter: DocumentScores, limits: EffectLimits) -> Check:
    """Ask whether texts of earlier training cost the adapter more than its parent: it forgot.

    Refused and warned about as :func:`general_check`, by the limit ``earlier``.
    """
    return _loss_check(
        EARLIER, parent, adapter, limits.earlier, kind="earlier", against="its parent"
    )


def _loss_check(
    name: str,
    other: DocumentScores,
    adapter: DocumentScores,
    most: float,
    *,
    kind: str,
    against: str,
) -> Check:
    """Judge how many nats per token more texts cost the adapter than another model."""
    loss = more_nll(other, adapter)
    limit = f"<= {most:g} nats, surely"
    if loss.texts < FEWEST:
        return _too_few(name, limit, loss.texts, kind)
    low, high = _ends(loss)
    verdict = CheckVerdict.PASS if loss.mean <= most else CheckVerdict.WARN
    if not low <= most:
        verdict = CheckVerdict.REFUSE
    between = _between(low, high, against)
    return Check(
        name=name,
        number=loss.mean,
        limit=limit,
        verdict=verdict,
        reason=(
            f"{kind} texts cost {loss.mean:+.3f} nats per token more {between}:"
            f" perplexity {math.expm1(loss.mean):+.1%}"
        ),
        details={"interval": [low, high], "texts": loss.texts},
    )


def _ends(of: MeanNll) -> tuple[float, float]:
    return of.mean - NORMAL_95 * of.error, of.mean + NORMAL_95 * of.error


def _between(low: float, high: float, against: str) -> str:
    return f"({low:+.3f} to {high:+.3f}) against {against}"


def _too_few(name: str, limit: str, read: int, kind: str) -> Check:
    reason = f"{read} {kind} texts were read; {FEWEST} are needed"
    return Check(name=name, limit=limit, verdict=CheckVerdict.SKIPPED, reason=reason)
