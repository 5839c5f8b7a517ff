"""Scores and evidence, with the last verdict, give the next verdict. Pure.

``docs/verdicts.md`` gives the reasons for the rules; this package is the only place that
applies them. :func:`judge` is a function of its arguments: replaying stored facts gives the
same verdicts.
"""

from monitor.policy.facts import (
    DetectorFact,
    Facts,
    IdentityFact,
    PerplexityFact,
    ReferenceStage,
)
from monitor.policy.judge import ActionEvidence, Judgement, judge
from monitor.policy.memory import Crossing, Memory
from monitor.policy.probed import IdentityMemory, PerplexityMemory
from monitor.policy.settings import PolicySettings, Preset
from monitor.policy.words import detector_reason, unmeasured

__all__ = [
    "ActionEvidence",
    "Crossing",
    "DetectorFact",
    "Facts",
    "IdentityFact",
    "IdentityMemory",
    "Judgement",
    "Memory",
    "PerplexityFact",
    "PerplexityMemory",
    "PolicySettings",
    "Preset",
    "ReferenceStage",
    "detector_reason",
    "judge",
    "unmeasured",
]
