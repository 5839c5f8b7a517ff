"""The rules by which crossings open, are kept up to date, and close."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime

import scipy

from detectors import DETECTORS, profile_of
from detectors.identity import IdentityState
from detectors.perplexity import PERPLEXITY
from detectors.profile import DetectorSide
from detectors.types import Process
from monitor.domain import Interval
from monitor.policy.classic import Streaks
from monitor.policy.facts import DetectorFact, Facts, IdentityFact
from monitor.policy.memory import Crossing, Memory
from monitor.policy.probed import IdentityMemory, PerplexityFinding, PerplexityMemory
from monitor.policy.settings import PolicySettings

RECOVERING_PROBES = 2
"""Consecutive unchanged probes that recover a version without traffic."""
QUARANTINE_AFTER = 5
"""Errors in a row after which a detector is quarantined."""
BY_CHANCE = 0.02
"""The chance that unchanged requests count as moved with answers, all detectors together."""


def remember(memory: Memory, facts: Facts, settings: PolicySettings) -> Memory:
    """Absorb one evaluation: coverage, failures, the probe, new crossings, recoveries.

    Findings against an older reference than the one in force, or by a detector that is
    switched off, are dropped.
    """
    memory = ruled(memory, facts)
    if facts.covered is not None:
        memory = replace(memory, seen=memory.seen.then(facts.kind, facts.covered, settings))
    if facts.reference_id is not None and facts.reference_id != memory.reference_id:
        facts = replace(facts, detectors=())
    memory = replace(memory, failures=_failures(memory, facts))
    memory = replace(
        memory,
        perplexity=_probed(memory.perplexity, facts),
        identity=_identified(memory.identity, facts.identity),
    )
    memory = replace(memory, classic=_classic(memory.classic, facts))
    for fact in facts.detectors:
        memory = _crossed(memory, fact, facts.at)
        memory = _recovered(memory, fact)
    memory = replace(memory, accompanied=_accompanied(memory, facts))
    return _recovered_by_probes(memory, facts)


def ruled(memory: Memory, facts: Facts) -> Memory:
    """Return the part of the memory that is valid under the present rules."""
    return memory.against(facts.reference_id).within(facts.enabled)


def _classic(last: Streaks, facts: Facts) -> Streaks:
    """Follow the textbook thresholds where the adapter has the preset, else forget them."""
    if not facts.classic:
        return Streaks()
    values = {fact.detector: fact.textbook for fact in facts.detectors}
    if facts.perplexity is not None:
        values[PERPLEXITY] = facts.perplexity.week
    return last.then({name: value for name, value in values.items() if value is not None})


def _failures(memory: Memory, facts: Facts) -> dict[str, int]:
    failures = dict(memory.failures)
    for fact in facts.detectors:
        if fact.error is None:
            failures.pop(fact.detector, None)
        else:
            failures[fact.detector] = failures.get(fact.detector, 0) + 1
    return failures


def _probed(last: PerplexityMemory | None, facts: Facts) -> PerplexityMemory | None:
    fact = facts.perplexity
    if last is not None and last.moved and last.corpus and facts.corpora:
        last = replace(last, replaced=last.corpus not in facts.corpora)
    if fact is None:
        return last
    still = not fact.moved
    if last is not None and last.moved and last.replaced and not fact.degraded:
        # the new corpus was registered with weights that may be damaged
        return replace(last, at=fact.at, ratio=fact.ratio, low=fact.low, unchanged_streak=0)
    streak = (last.unchanged_streak if last else 0) + 1 if still else 0
    if still and last is not None and last.moved and streak < RECOVERING_PROBES:
        # one clean probe does not clear an earlier finding; two in a row do
        return replace(last, at=fact.at, ratio=fact.ratio, low=fact.low, unchanged_streak=streak)
    finding = {field.name: getattr(fact, field.name) for field in fields(PerplexityFinding)}
    return PerplexityMemory(**finding, unchanged_streak=streak)


def _identified(last: IdentityMemory | None, fact: IdentityFact | None) -> IdentityMemory | None:
    """Keep the last answer; "could not be told" keeps it too, but marks it as doubted."""
    if fact is None:
        return last
    if fact.state is IdentityState.UNKNOWN and last is not None:
        return replace(last, doubted_since=last.doubted_since or fact.ended_at or fact.at)
    return IdentityMemory(
        at=fact.at, state=fact.state, reason=fact.reason, numberless=fact.numberless
    )


def _crossed(memory: Memory, fact: DetectorFact, at: datetime) -> Memory:
    for process, evidence in (
        (Process.NOTICE, fact.evidence_notice),
        (Process.PAGE, fact.evidence_page),
    ):
        known = memory.crossing(fact.detector, process)
        if known is None and evidence >= 0:
            memory = memory.with_crossing(_first(fact, process, evidence, at))
        elif known is not None:
            memory = memory.with_crossing(_updated(known, fact, evidence, at))
    return memory


def _accompanied(memory: Memory, facts: Facts) -> bool:
    """Whether requests surely moved with answers; a run that measured none keeps the last result.

    A fault of the adapter would be blamed on requests that only look changed, so all signals of
    all detectors share a chance of 2 %: an effect is that of the signal that moved most.
    """
    asked = [
        (fact.detector, fact.effect, fact.margin)
        for fact in facts.detectors
        if profile_of(fact.detector).side is DetectorSide.REQUESTS
        and fact.effect is not None
        and memory.crossing(fact.detector, Process.NOTICE) is None  # it has an onset of its own
    ]
    if not memory.crossings or not asked:
        return bool(memory.crossings) and memory.accompanied
    signals = sum(len(DETECTORS[name].signals) for name, _, _ in asked)
    return any(
        effect.value - _wider(effect.n, signals) * (effect.value - effect.lo) >= margin
        for _, effect, margin in asked
        if effect.n > 1
    )


def _wider(units: int, signals: int) -> float:
    """Return by how much an interval of 95 % is widened for so many signals."""
    least, usual = scipy.special.stdtrit(units - 1, [1.0 - BY_CHANCE / (2 * signals), 0.975])
    return float(least / usual)


def _first(fact: DetectorFact, process: Process, evidence: float, at: datetime) -> Crossing:
    effect = fact.effect
    return Crossing(
        detector=fact.detector,
        process=process,
        hard=fact.hard,
        model_side=fact.model_side,
        at=at,
        evidence=evidence,
        winner=fact.winner or fact.detector,
        onset=fact.onset or Interval(start=at, end=at),
        margin=fact.margin,
        looked_at=at,
        n=effect.n if effect else 0,
        effect=effect.value if effect else None,
        effect_low=effect.lo if effect else None,
        acts=fact.acts,
        records=effect.records if effect else 0,
        alone=effect is not None and effect.alone,
    )


def _updated(known: Crossing, fact: DetectorFact, evidence: float, at: datetime) -> Crossing:
    effect = fact.effect
    if effect is None:
        return known
    return replace(
        known,
        n=effect.n,
        effect=effect.value,
        effect_low=effect.lo,
        evidence=max(known.evidence, evidence),
        acts=fact.acts,
        looked_at=at,
        records=effect.records,
        alone=effect.alone,
        again_at=at if evidence >= 0 else known.again_at,
    )


def _recovered(memory: Memory, fact: DetectorFact) -> Memory:
    """Drop a crossing whose effect is small again *and* whose evidence fell.

    The effect alone would let one steady small drift page again and again.
    """
    small = fact.recent is not None and fact.recent.hi < fact.margin / 2
    fell = {Process.NOTICE: fact.fell_notice, Process.PAGE: fact.fell_page}
    crossed = {Process.NOTICE: fact.evidence_notice >= 0, Process.PAGE: fact.evidence_page >= 0}
    kept = tuple(
        c
        for c in memory.crossings
        if c.detector != fact.detector or crossed[c.process] or not (small and fell[c.process])
    )
    return replace(memory, crossings=kept)


def _recovered_by_probes(memory: Memory, facts: Facts) -> Memory:
    probe = memory.perplexity
    if facts.traffic or probe is None or probe.unchanged_streak < RECOVERING_PROBES:
        return memory
    kept = tuple(c for c in memory.crossings if c.at >= probe.at or not c.model_side)
    return replace(memory, crossings=kept)
