"""Findings in the words of the service, for fixtures."""

from datetime import UTC, datetime

from detectors.types import Process
from monitor.domain import Interval
from monitor.policy.memory import Crossing
from monitor.policy.words import crossing_words

AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def found(
    detector: str,
    winner: str,
    *,
    evidence: float,
    n: int,
    effect: tuple[float, float],
    process: Process = Process.PAGE,
) -> str:
    """Say what crossed; ``effect`` is the effect and its lower bound."""
    crossing = Crossing(
        detector=detector,
        process=process,
        hard=False,
        model_side=True,
        at=AT,
        evidence=evidence,
        winner=winner,
        onset=Interval(start=AT, end=AT),
        margin=0.2,
        n=n,
        effect=effect[0],
        effect_low=effect[1],
    )
    return crossing_words(crossing)
