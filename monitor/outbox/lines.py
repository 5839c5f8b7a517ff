"""Scores as messages show them: what was found, with the evidence that it was found by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alerts.message import ScoreLine
from detectors.types import Score
from monitor.policy.memory import Crossing
from monitor.store.evaluations import ScoreRow


def score_lines(
    scores: Mapping[str, Score | ScoreRow],
    detectors: Iterable[str],
    crossings: Sequence[Crossing],
) -> tuple[ScoreLine, ...]:
    """Give the lines of these detectors, as far as they have a score, the strongest first.

    A process begins anew once it has crossed, so the evidence is that of the crossing where
    it is the larger one.
    """
    lines = [_line(name, scores[name], crossings) for name in detectors if name in scores]
    return tuple(sorted(lines, key=lambda line: line.evidence or 0.0, reverse=True))


def _line(name: str, score: Score | ScoreRow, known: Sequence[Crossing]) -> ScoreLine:
    crossings = [c for c in known if c.detector == name]
    paged = any(c.paged for c in crossings)
    best = max(crossings, key=lambda c: c.evidence, default=None)
    page = paged or (name == "perplexity" and score.evidence_page >= 0)
    now = score.evidence_page if page else score.evidence_notice
    winner = best.winner if best else score.winner
    return ScoreLine(
        detector=name,
        value=score.value,
        winner=winner,
        evidence=max(now, best.evidence) if best else now,
        process="page" if page else "notice",
        **_effect(score, best),
        minimum_detectable=score.minimum_detectable,
        n=best.n if best and best.n else score.n_window,
        **_share(score, winner),
    )


def _share(score: Score | ScoreRow, winner: str | None) -> dict[str, Any]:
    """How many of the newest requests show it, and how many of the reference's did."""
    signals = score.details.get("signals")
    signal = (winner or "").partition(":")[0]
    found = signals.get(signal) if isinstance(signals, dict) else None
    if not isinstance(found, dict) or "reference_rate" not in found:
        return {}
    return {"count": found["count"], "of": found["n"], "usual": found["reference_rate"]}


def _effect(score: Score | ScoreRow, best: Crossing | None) -> dict[str, Any]:
    """How large it is since it began; a score's own is that of a whole day."""
    if best is None or best.effect is None:
        return {"effect": score.effect, "interval": _interval(score)}
    return {"effect": best.effect, "interval": (best.effect_low, None)}


def _interval(score: Score | ScoreRow) -> tuple[float, float]:
    return score.interval if isinstance(score, Score) else (score.effect_low, score.effect_high)
