"""Format scores for messages: what was found, and the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from alerts.message import ScoreLine
from detectors import profile_of
from detectors.perplexity import PERPLEXITY
from detectors.types import Score
from detectors.words import gloss_of, plain_words
from monitor.policy.memory import Crossing
from monitor.store.evaluation.evaluations import ScoreRow

LEAST_TIMES: Final = 1.1
"""Below it a median says less than the comparison of all requests does."""


def score_lines(
    scores: Mapping[str, Score | ScoreRow], detectors: Iterable[str], crossings: Sequence[Crossing]
) -> tuple[ScoreLine, ...]:
    """Return a line for each detector that has a score, the strongest first.

    A process restarts after it crosses, so a line shows the crossing's evidence if that is larger.
    """
    lines = [_line(name, scores[name], crossings) for name in detectors if name in scores]
    return tuple(sorted(lines, key=lambda line: line.evidence or 0.0, reverse=True))


def _line(name: str, score: Score | ScoreRow, known: Sequence[Crossing]) -> ScoreLine:
    crossings = [c for c in known if c.detector == name]
    paged = any(c.paged for c in crossings)
    best = max(crossings, key=lambda c: c.evidence, default=None)
    # the probe of fixed texts has no process that could cross: its page evidence is a page
    page = paged or (name == PERPLEXITY and score.evidence_page >= 0)
    now = score.evidence_page if page else score.evidence_notice
    winner = best.winner if best else score.winner
    return ScoreLine(
        detector=name,
        words=plain_words(name, winner),
        clause=profile_of(name).clause,
        gloss=gloss_of(winner),
        value=score.value,
        winner=winner,
        evidence=max(now, best.evidence) if best else now,
        process="page" if page else "notice",
        **_effect(score, best),
        minimum_detectable=score.minimum_detectable,
        n=best.n if best and best.n else score.n_window,
        **_amount(score, winner, relative=profile_of(name).relative),
    )


def _amount(score: Score | ScoreRow, winner: str | None, *, relative: bool) -> dict[str, Any]:
    """Return how many of the newest requests show the signal, or by which factor it changed."""
    signals = score.details.get("signals")
    signal = (winner or "").partition(":")[0]
    found = signals.get(signal) if isinstance(signals, dict) else None
    if not isinstance(found, dict):
        return {}
    if "reference_rate" in found:
        return {"count": found["count"], "of": found["n"], "usual": found["reference_rate"]}
    median = found.get("quantiles", {}).get("p50")
    if not relative or not median or not median["reference"] > 0:
        return {}
    times = median["window"] / median["reference"]
    return {"times": times} if times >= LEAST_TIMES else {}


def _effect(score: Score | ScoreRow, best: Crossing | None) -> dict[str, Any]:
    """Return the effect size since the onset, else the score's own, which covers a whole day."""
    if best is None or best.effect is None:
        return {"effect": score.effect, "interval": _interval(score)}
    return {"effect": best.effect, "interval": (best.effect_low, None)}


def _interval(score: Score | ScoreRow) -> tuple[float, float]:
    return score.interval if isinstance(score, Score) else (score.effect_low, score.effect_high)
