"""The verdict: most severe first, with the numbers that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf

from alerts.types import Blame, Sureness, VerdictKind
from detectors.perplexity import PERPLEXITY
from detectors.types import Process
from monitor.domain import Interval, Verdict, VerdictSeverity
from monitor.policy.blame import (
    UNKNOWN,
    Blamed,
    blame_for,
    blame_for_blindness,
    explained_by_inputs,
    in_doubt,
)
from monitor.policy.common_cause import BaseStanding, standing
from monitor.policy.coverage import Blindness
from monitor.policy.crossings import remember, ruled
from monitor.policy.facts import Facts, ReferenceStage
from monitor.policy.memory import Crossing, Memory
from monitor.policy.settings import PolicySettings
from monitor.policy.words import (
    blind_words,
    crossing_words,
    join,
    large_words,
    probe_words,
    small_words,
    standing_words,
    unmeasured_words,
    why_not_page,
)

NO_ACTION_BLAMES = frozenset({Blame.INPUT, Blame.BASE, Blame.SERVING})
"""Changes that another version of the adapter would not undo."""
NEAR = -1.0
"""Evidence (log10 of the share of the line) above which a healthy verdict says how near it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEvidence:
    """Whether the action rule holds, and the numbers behind it.

    ``at`` is the age of these numbers; a run of other detectors does not make them younger.
    ``measured_from`` belongs to the newest evidence that is enough alone: the time when a
    probe read its first document, or when a process crossed last. A route that somebody has
    set since then stands.
    """

    allowed: bool
    reason: str
    detectors: tuple[str, ...] = ()
    effect_low: float = 0.0
    n: int = 0
    at: datetime
    measured_from: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The next verdict, the next memory, and the probe or action that they need."""

    verdict: Verdict
    memory: Memory
    action: ActionEvidence
    wants_probe: bool
    """A first suspicion: the perplexity probe should run at once."""
    standing: BaseStanding
    """The version's standing among the others on its base."""
    blindness: Blindness | None = None
    """Set if too few requests can be compared, whatever else was found."""
    rules_changed: bool = False
    """The verdict is stable because the findings no longer count: another reference is in
    force, or a detector was switched off."""


def judge(memory: Memory, facts: Facts, settings: PolicySettings) -> Judgement:
    """Apply the rules of ``docs/verdicts.md`` once.

    The same memory and facts always give the same judgement.
    """
    before = memory
    memory = remember(memory, facts, settings)
    paging = tuple(c for c in memory.crossings if _pages(c, memory, facts, settings))
    keys = {c.key for c in paging}
    marked = tuple(replace(c, paged=True) if c.key in keys else c for c in memory.crossings)
    memory = replace(memory, crossings=marked)
    paging = tuple(c for c in marked if c.paged)
    stands = standing(
        memory,
        facts.fleet,
        at=facts.at,
        page_wait=settings.page_wait,
        by_inputs=explained_by_inputs(memory),
    )
    verdict = _verdict(memory, facts, settings, paging=paging, stands=stands)
    if verdict.severity is VerdictSeverity.NONE and _was_open(before):
        verdict = _back(before, memory, facts)
    return Judgement(
        verdict=verdict,
        memory=replace(memory, verdict=verdict),
        action=_action(memory, facts, settings, paging=paging, verdict=verdict),
        wants_probe=_wants_probe(before, memory, facts),
        standing=stands,
        blindness=_blindness(memory, facts, settings),
        rules_changed=verdict.severity is VerdictSeverity.NONE
        and _other_rules(before, facts) is not None,
    )


def _blindness(memory: Memory, facts: Facts, settings: PolicySettings) -> Blindness | None:
    if facts.reference is ReferenceStage.NONE:
        return None
    return memory.seen.blindness(settings)


def _other_rules(before: Memory, facts: Facts) -> str | None:
    """Say why the earlier findings no longer count; None: they do, or there were none."""
    if not before.crossings or ruled(before, facts).crossings:
        return None
    if not before.against(facts.reference_id).crossings:
        return "compared with a new reference from now on"
    return f"switched off since: {join(sorted({c.detector for c in before.crossings}))}"


def _pages(crossing: Crossing, memory: Memory, facts: Facts, settings: PolicySettings) -> bool:
    if crossing.paged:
        return True
    if crossing.process is Process.NOTICE:
        return False
    if crossing.hard:
        lasts = crossing.effect_low is None or crossing.effect_low > 0.0
        return lasts and crossing.counted >= settings.hard_records and not crossing.alone
    if facts.reference is ReferenceStage.REPLACED:
        return False
    return _probe_lets_page(crossing, memory, facts, settings)


def _probe_lets_page(
    crossing: Crossing, memory: Memory, facts: Facts, settings: PolicySettings
) -> bool:
    """Whether a soft page crossing may page: after the suspicion probe, or if it stays silent.

    It may not where other requests explain other answers, unless the probe says otherwise.
    """
    if not crossing.profile.side.asks_probe:
        return True
    if explained_by_inputs(memory):
        return False
    probe = memory.perplexity
    if not facts.probe_available or (probe is not None and probe.at > crossing.at):
        return True
    return facts.at - crossing.at >= _wait(facts, settings)


def _wait(facts: Facts, settings: PolicySettings) -> timedelta:
    """How long to wait for a probe: twice as long for one that runs, which is about to tell."""
    return (2 if facts.probe_running else 1) * settings.page_wait


def _verdict(
    memory: Memory,
    facts: Facts,
    settings: PolicySettings,
    *,
    paging: tuple[Crossing, ...],
    stands: BaseStanding,
) -> Verdict:
    degraded = memory.perplexity is not None and memory.perplexity.degraded
    probed = memory.probes_found
    blamed = blame_for(memory, stands, at=facts.at, wait=_wait(facts, settings))
    if paging or degraded or memory.replaced:
        kind, severity = VerdictKind.CRITICAL, VerdictSeverity.PAGE
        reason = join([*map(crossing_words, paging), *probe_words(memory)])
        reason += unmeasured_words(memory, facts) + standing_words(stands)
    elif memory.crossings or probed or memory.classic.opened:
        kind, severity = VerdictKind.DRIFTING, VerdictSeverity.TICKET
        found = [*map(crossing_words, memory.crossings), *probe_words(memory)]
        reason = join([*found, *memory.classic.words])
        reason += why_not_page(memory, facts) + unmeasured_words(memory, facts)
        reason += standing_words(stands)
    else:
        kind, reason = _quiet(memory, facts, settings)
        blindness = _blindness(memory, facts, settings) if kind is VerdictKind.BLIND else None
        severity = VerdictSeverity.NONE
        blamed = blame_for_blindness(blindness) if blindness is not None else UNKNOWN
    return Verdict(
        kind=kind,
        severity=severity,
        blame=blamed.blame,
        sure=blamed.sure,
        probe_due=_probe_due(memory, facts, settings, blamed),
        reason=reason,
        detectors=_detectors(memory, probed=probed),
        since=_since(memory, kind, facts.at),
        onset=_onset(paging or memory.crossings),
    )


def _probe_due(
    memory: Memory, facts: Facts, settings: PolicySettings, blamed: Blamed
) -> datetime | None:
    """Return when the probe is due that can confirm the blame; None: no probe is awaited."""
    waits = memory.unmeasured_since is not None or in_doubt(
        memory, at=facts.at, wait=_wait(facts, settings)
    )
    if blamed.sure is Sureness.CONFIRMED or not facts.probe_available or not waits:
        return None
    return max(facts.at, facts.probe_due or facts.at)


def _was_open(memory: Memory) -> bool:
    """Whether the version has a finding, or had one when its registration was retired."""
    told = memory.verdict is not None and memory.verdict.severity is not VerdictSeverity.NONE
    return bool(memory.crossings or memory.classic.opened) or memory.probes_found or told


def _back(before: Memory, memory: Memory, facts: Facts) -> Verdict:
    """Return a stable verdict, even with too few records for a new judgement.

    A version that lost its traffic recovers by its probes. Without this verdict its
    incident would stay open for want of records.
    """
    return Verdict(
        kind=VerdictKind.STABLE,
        reason=_other_rules(before, facts) or f"recovered: {_how(before, memory, facts)}",
        since=_since(memory, VerdictKind.STABLE, facts.at),
    )


def _how(before: Memory, memory: Memory, facts: Facts) -> str:
    probe = memory.perplexity
    if before.crossings and not facts.traffic and probe is not None:
        return f"{probe.unchanged_streak} unchanged perplexity probes in a row, no traffic"
    if before.crossings:
        return "small effect and falling evidence"
    if not before.probes_found:
        return (
            "no classic threshold is passed any more"
            if before.classic.opened
            else "its registration was retired; compared with a new one from now on"
        )
    if before.misidentified and memory.identity is not None:
        return memory.identity.reason
    streak = probe.unchanged_streak if probe is not None else 0
    return f"{streak} unchanged perplexity probes in a row"


def _quiet(memory: Memory, facts: Facts, settings: PolicySettings) -> tuple[VerdictKind, str]:
    errors = [f"{fact.detector}: {fact.error}" for fact in facts.detectors if fact.error]
    if errors and len(errors) == len(facts.detectors):
        return VerdictKind.ERROR, join(errors)
    last, asked = memory.verdict, {fact.detector for fact in facts.detectors}
    unasked = [name for name in memory.failures if name not in asked]
    if last is not None and last.kind is VerdictKind.ERROR and unasked:
        return last.kind, last.reason  # another kind's run clears none of these failures
    if facts.reference is ReferenceStage.NONE:
        return VerdictKind.LEARNING, "no reference yet"
    blindness = _blindness(memory, facts, settings)
    if blindness is not None:
        return VerdictKind.BLIND, blind_words(blindness)
    if facts.n_day < settings.insufficient_records:
        return (
            VerdictKind.INSUFFICIENT,
            f"{facts.n_day} of {settings.insufficient_records} comparable requests in 24 h",
        )
    return VerdictKind.STABLE, f"healthy: {_nearest(facts)}"


def _nearest(facts: Facts) -> str:
    highest = max((fact.evidence_notice for fact in facts.detectors), default=-inf)
    if highest <= NEAR:
        return "nothing near its alert threshold"
    return f"the strongest signal is {-highest:.1f} below its alert threshold"


def _since(memory: Memory, kind: VerdictKind, at: datetime) -> datetime:
    last = memory.verdict
    return last.since if last is not None and last.kind is kind else at


def _detectors(memory: Memory, *, probed: bool) -> tuple[str, ...]:
    names = dict.fromkeys(c.detector for c in memory.crossings)
    if probed:
        names[PERPLEXITY] = None
    names |= dict.fromkeys(memory.classic.opened)
    return tuple(names)


def _onset(crossings: Sequence[Crossing]) -> Interval | None:
    if not crossings:
        return None
    first = min(crossings, key=lambda c: c.onset.end)
    return first.onset


def _action(
    memory: Memory,
    facts: Facts,
    settings: PolicySettings,
    *,
    paging: tuple[Crossing, ...],
    verdict: Verdict,
) -> ActionEvidence:
    """Permit an action only for a significant *and* large effect in the model's own signals."""
    if verdict.kind is not VerdictKind.CRITICAL:
        return ActionEvidence(
            allowed=False, reason=f"the verdict is {verdict.kind.value}", at=facts.at
        )
    if verdict.blame in NO_ACTION_BLAMES:
        return ActionEvidence(
            allowed=False,
            reason=f"blame is {verdict.blame.value}: another version would not help",
            at=facts.at,
        )
    paging = tuple(c for c in paging if c.model_side)
    approved = facts.reference is ReferenceStage.APPROVED
    # without an earlier probe there is nothing to compare a new one with
    can_tell = facts.probe_available and memory.perplexity is not None
    waits = can_tell and verdict.blame is not Blame.ADAPTER
    large = [c for c in paging if (c.hard or (approved and not waits)) and _large(c, settings)]
    probe = memory.perplexity
    if in_doubt(memory, at=facts.at, wait=_wait(facts, settings)):
        return ActionEvidence(
            allowed=False, reason="whose weights answer is being asked again", at=facts.at
        )
    if probe is not None and (probe.low >= settings.action_perplexity or memory.unapproved):
        needs = f"needs {settings.action_perplexity:+.0%}"
        if memory.unapproved:
            needs = "other weights than the registered ones answer"
        return ActionEvidence(
            allowed=True,
            reason=f"perplexity at least {probe.low:+.1%} ({needs})",
            detectors=(PERPLEXITY, *(c.detector for c in large)),
            effect_low=probe.low,
            n=max((c.n for c in large), default=0),
            at=facts.at,
            measured_from=max([probe.evidence_from, *(c.crossed_at for c in large)]),
        )
    if large:
        worst = max(large, key=lambda c: c.effect_low or 0.0)
        return ActionEvidence(
            allowed=True,
            reason=large_words(worst, settings),
            detectors=tuple(c.detector for c in large),
            effect_low=worst.effect_low or 0.0,
            n=worst.n,
            at=max(c.seen_at for c in large),
            measured_from=max(c.crossed_at for c in large),
        )
    small = [small_words(c, settings) for c in paging if not _large(c, settings)]
    if len(small) < len(paging):
        small.append(
            "nobody and nothing has approved the reference"
            if not approved
            else "the cause is not confirmed: no probe of the model has looked since"
        )
    degraded = probe is not None and probe.degraded
    nothing = "perplexity below margin" if degraded else "no sure change in the model's own answers"
    return ActionEvidence(allowed=False, reason=join(small) or nothing, at=facts.at)


def _large(crossing: Crossing, settings: PolicySettings) -> bool:
    if crossing.hard:
        return True
    return (
        crossing.acts
        and crossing.n >= settings.action_records
        and crossing.effect_low is not None
        and crossing.effect_low >= crossing.margin
    )


def _wants_probe(before: Memory, after: Memory, facts: Facts) -> bool:
    """Whether a probe should run: after a new crossing, a new doubt, or too early a probe.

    A probe that began before a crossing came too early: its result does not cover the
    crossing.
    """
    if after.doubted and not before.doubted:
        return True
    known = {c.key for c in before.crossings}
    crossed = any(c.key not in known for c in after.crossings if c.profile.side.asks_probe)
    return crossed or (facts.perplexity is not None and after.unmeasured_since is not None)
