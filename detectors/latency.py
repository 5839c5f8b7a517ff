"""`latency`: answers slower than before."""

from __future__ import annotations

from detectors.faults import Family, Fault, Unit, in_units
from detectors.profile import DetectorSide, Phrases, Profile
from detectors.rank_detector import RankDetector, largest_worsening
from detectors.scores import DriftSide

LATENCY = RankDetector(
    name="latency",
    signals=("latency_ms", "ttft_ms"),
    sides={"latency_ms": DriftSide.UP, "ttft_ms": DriftSide.UP},
    sizes={"latency_ms": ("n_tokens", "prompt_tokens"), "ttft_ms": ("prompt_tokens",)},
    shown=largest_worsening,
    profile=Profile(
        side=DetectorSide.SERVING,
        words=Phrases("latency", "answers slower", "answers faster", "latency changed"),
        relative=True,
        faults=(
            Family(
                words="all answers slower",
                fault=Fault(signal="latency_ms"),
                unit=Unit.RATIO,
                told=in_units,
            ),
        ),
    ),
)
"""Time to the whole answer and to its first token, beside requests of the same size.

Only slower is drift. Longer answers take longer, and so do longer prompts: times are told
in units of what the reference took for as many tokens. A fixed cost per request is part of
that line, so shorter answers do not look slow either, as they would per token.

It speaks of serving: it opens tickets and pages, never moves traffic, and waits for no probe.

Shown: Cliff's delta of the slowing, in [0, 1]. ``details["signals"]`` has the 5, 50 and
95 % points of window and reference in those units: 1 is usual.
"""
