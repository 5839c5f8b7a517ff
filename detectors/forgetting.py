"""Judge what an adapter has forgotten: the same questions, answered by its base and by itself.

Every question is asked of both, so its difficulty cancels: the loss is the mean of paired
differences in {-1, 0, 1}, and its variance is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import Check, CheckVerdict
from detectors.gap import NORMAL_95

FORGETTING = "forgetting"
TASKS = "tasks"
"""The same of questions that came with the request."""
FEWEST = 100
"""Questions from which a loss of some points can be told from chance."""
GUESSING = 0.05
"""A base that is right in no more than so much above chance has little to forget."""

_POWER_80 = 0.8416
"""The point that a standard normal variable stays below in 80 % of cases."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingLimits:
    """The limit of forgetting.

    loss
        Share of all questions that the adapter may answer wrong though its base answers them
        right, less those that it answers right and its base wrong; surely more is refused.
    """

    loss: float = 0.05

    @property
    def problems(self) -> list[str]:
        """List the limits that nothing could meet, each with its key."""
        return [] if 0 <= self.loss < 1 else ["loss: must be at least 0 and below 1"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedAnswers:
    """The answers of two models to the same ``Q`` questions; True is right.

    kinds
        The kind of each question, in order.
    chance
        Share of right answers that guessing gives.
    """

    kinds: tuple[str, ...]
    base: Bools
    adapter: Bools
    chance: float


def forgetting_check(
    found: PairedAnswers, limits: ForgettingLimits, *, name: str = FORGETTING
) -> Check:
    """Ask whether an adapter answers fewer questions right than its base.

    The loss is refused where the lower end of its 95 % interval is above ``loss``, and warned about
    where only the estimate is. A loss exactly at the limit is refused in about 2.5 % of cases.
    Where the two disagree on a third of the questions, 420 of them show a loss of 15 points in 96 %
    of cases, one of 20 always, and one of 10 in 44 %. A base that only guesses is told, and nothing
    is judged.
    """
    limit = f"<= {100 * limits.loss:g} points, surely"
    count = len(found.kinds)
    if guesses(found.base, found.chance):
        base = float(found.base.mean())
        reason = (
            f"its base only guesses: {base:.0%} of {count} are right, {found.chance:.0%} by chance"
        )
        return Check(name=name, limit=limit, verdict=CheckVerdict.SKIPPED, reason=reason)
    if count < FEWEST:
        reason = f"{count} questions were answered by both; {FEWEST} are needed"
        return Check(name=name, limit=limit, verdict=CheckVerdict.SKIPPED, reason=reason)
    what = "general questions" if name == FORGETTING else "questions"
    right, base = float(found.adapter.mean()), float(found.base.mean())
    lost = found.base.astype(float) - found.adapter.astype(float)
    loss, half = float(lost.mean()), NORMAL_95 * float(lost.std(ddof=1)) / math.sqrt(count)
    shown = detectable_loss(count, limits.loss, disagree=float(np.abs(lost).mean()))
    verdict = CheckVerdict.WARN if loss > limits.loss else CheckVerdict.PASS
    if loss - half > limits.loss:
        verdict = CheckVerdict.REFUSE
    kinds = _by_kind(found)
    worst = max(kinds, key=lambda kind: kinds[kind]["base"] - kinds[kind]["adapter"])
    most = f"; most in {worst}: {kinds[worst]['adapter']:.0%} of {kinds[worst]['base']:.0%}"
    return Check(
        name=name,
        number=loss,
        limit=limit,
        verdict=verdict,
        reason=(
            f"it answers {right:.0%} of {count} {what} right and its base {base:.0%}:"
            f" {0.0 - 100 * loss:+.1f} points ({-100 * (loss + half):+.1f} to"
            f" {-100 * (loss - half):+.1f}); a loss of {100 * shown:.0f} would show"
            f"{most if loss > 0 else ''}"
        ),
        details={
            "interval": [loss - half, loss + half],
            "questions": count,
            "detectable": shown,
            "kinds": kinds,
        },
    )


def detectable_loss(questions: int, limit: float, *, disagree: float) -> float:
    """Return the smallest loss that so many questions refuse in 80 % of cases.

    ``disagree`` is the share of questions that only one of the two models answers right; a loss
    needs at least as large a share.

    >>> round(detectable_loss(420, 0.05, disagree=1 / 3), 2)
    0.13
    >>> round(detectable_loss(420, 0.05, disagree=0.0), 2)
    0.09
    """
    far = (NORMAL_95 + _POWER_80) / math.sqrt(questions)
    own = (far / 2 + math.sqrt(far**2 / 4 + limit)) ** 2  # where the loss is all that differs
    return max(own, limit + far * math.sqrt(disagree))


def guesses(right: Bools, chance: float) -> bool:
    """Return whether a model answers hardly more questions right than guessing does."""
    return right.size > 0 and float(right.mean()) <= chance + GUESSING


def _by_kind(found: PairedAnswers) -> Mapping[str, Mapping[str, float]]:
    kinds = np.array(found.kinds)
    return {
        str(kind): {
            "questions": int((kinds == kind).sum()),
            "base": float(found.base[kinds == kind].mean()),
            "adapter": float(found.adapter[kinds == kind].mean()),
        }
        for kind in dict.fromkeys(found.kinds)
    }
