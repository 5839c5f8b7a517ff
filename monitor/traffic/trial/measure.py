"""The comparison of both arms so far: each guardrail's interval beside its margin. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from alerts.words import often
from detectors.trial import FEWEST_UNITS, Bounds, Difference, Failures, bounds, failure_evidence
from detectors.trial_pairs import pair_bounds, paired
from monitor.traffic.trial.columns import Column, compared, count, degradation, kind_of
from monitor.traffic.trial.guards import Guard, GuardKind, guard_words, guard_worse_words
from monitor.traffic.trial.states import Found, LookOutcome


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """Records of both arms since the step began: the signal of each guardrail by its name.

    ``pairs``: both columns of a signal are in the order of the prompts, each answered
    twice.
    """

    trial: Mapping[str, Column]
    control: Mapping[str, Column]
    trial_requests: int
    control_requests: int
    pairs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The stored sums of a guardrail: earlier steps' sum, and choices fixed at the first look.

    ``planned`` is the information at which its bounds are tightest. ``planned`` and
    ``kind`` are chosen at the first look that can, and then kept: a new choice at each look
    would depend on the data that it judges.
    """

    value: float = 0.0
    information: float = 0.0
    planned: float | None = None
    kind: GuardKind | None = None


class GuardOutcome(StrEnum):
    """The outcome of one guardrail."""

    FAILED = "failed"
    PASSED = "passed"
    UNSURE = "unsure"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFound:
    """One guardrail at one look, as it is stored and drawn.

    value, lo, hi
        How much worse the canary is, with an interval that is valid at every look; None while
        too few subjects have been seen. For a hard guardrail, ``value`` is the evidence (log10)
        and ``margin`` its alarm line.
    bar
        ``lo`` above it rolls back: 0 for a critical guardrail, else the margin.
    carried
        The sums with which the next look continues, once the step has ended.
    """

    name: str
    kind: GuardKind | None
    outcome: GuardOutcome
    margin: float
    bar: float
    value: float | None = None
    lo: float | None = None
    hi: float | None = None
    trial: int = 0
    control: int = 0
    carried: Carried = field(default_factory=Carried)

    @property
    def title(self) -> str:
        """Its measure in words: ``spread of answers``, ``solved (feedback)``."""
        return guard_words(self.name)

    @property
    def words(self) -> str:
        """How it failed: ``answers more diffuse in 66 of 100 comparisons, at most 60 accepted``."""
        worse = guard_worse_words(self.name)
        if self.value is None or self.kind is GuardKind.HARD:
            return f"{worse}: {self.trial} against {self.control}"
        if self.kind is GuardKind.RATE:
            points = f"{100 * self.value:.1f} percentage points"
            return f"{worse} by {points}, at most {100 * self.bar:.1f} accepted"
        shown = f"{often(self.value):.0f} of 100 comparisons"
        return f"{worse} in {shown}, at most {often(self.bar):.0f} accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that all guardrails share.

    alphas
        Accepted false rollbacks of each guardrail, by its name.
    margin_rate, margin_rank
        See :class:`monitor.traffic.trial.settings.CanarySettings`.
    ahead
        Ratio of the information planned for the step to the present information, at least 1.
    """

    alphas: Mapping[str, float]
    margin_rate: float
    margin_rank: float
    ahead: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One look in full."""

    guards: tuple[GuardFound, ...]
    trial_requests: int
    control_requests: int

    @property
    def found(self) -> Found:
        """Summarise the measurement for the state machine."""
        by = {
            outcome: [guard for guard in self.guards if guard.outcome is outcome]
            for outcome in GuardOutcome
        }
        failed, unsure = by[GuardOutcome.FAILED], by[GuardOutcome.UNSURE]
        passed = [g for g in by[GuardOutcome.PASSED] if g.kind is not GuardKind.HARD]
        if failed:
            outcome, reason = LookOutcome.FAILED, "; ".join(guard.words for guard in failed)
        elif passed and not unsure:
            outcome, reason = LookOutcome.PASSED, _within(passed, passed)
        else:
            outcome, reason = LookOutcome.UNSURE, "nothing could be compared"
            if unsure:
                names = ", ".join(guard.title for guard in unsure)
                reason = f"{_within(passed, [*passed, *unsure])}; not certain yet: {names}"
        return Found(
            outcome=outcome,
            trial_requests=self.trial_requests,
            control_requests=self.control_requests,
            reason=reason,
        )


def _within(passed: Sequence[GuardFound], of: Sequence[GuardFound]) -> str:
    return f"{len(passed)} of {len(of)} guardrails within their limits"


def measure(
    sides: Sides,
    guards: Sequence[Guard],
    *,
    carried: Mapping[str, Carried],
    failures: Mapping[str, Sequence[Failures]],
    rules: Rules,
) -> Measurement:
    """Compare both arms by every guardrail.

    ``failures`` has, for each hard guardrail, every look of this canary so far. The
    information of earlier steps is added up. Within a step both arms answer at the same
    time, so each step's difference is fair, and the sum is one process that may be tested
    at every look.

    Cost: O(n log n) for each guardrail.
    """
    found = tuple(
        _hard(guard, failures.get(guard.name, ()), rules)
        if guard.kind is GuardKind.HARD
        else _soft(guard, sides, carried.get(guard.name, Carried()), rules)
        for guard in guards
    )
    return Measurement(
        guards=found, trial_requests=sides.trial_requests, control_requests=sides.control_requests
    )


def _hard(guard: Guard, looks: Sequence[Failures], rules: Rules) -> GuardFound:
    line = -math.log10(rules.alphas[guard.name])
    evidence = failure_evidence(looks)
    outcome = GuardOutcome.FAILED if evidence >= line else GuardOutcome.PASSED
    return GuardFound(
        name=guard.name,
        kind=GuardKind.HARD,
        outcome=outcome,
        margin=line,
        bar=line,
        value=evidence,
        trial=sum(look.trial_failures for look in looks),
        control=sum(look.control_failures for look in looks),
    )


def _soft(guard: Guard, sides: Sides, before: Carried, rules: Rules) -> GuardFound:
    trial, control = sides.trial.get(guard.name), sides.control.get(guard.name)
    n_trial, n_control = count(trial), count(control)
    kind = before.kind or guard.kind or kind_of(trial, control)
    margin = rules.margin_rate if kind is GuardKind.RATE else rules.margin_rank
    blank = GuardFound(
        name=guard.name,
        kind=kind,
        outcome=GuardOutcome.UNSURE,
        margin=margin,
        bar=0.0 if guard.critical else margin,
        trial=n_trial,
        control=n_control,
        carried=before,
    )
    if trial is None or control is None or (n_trial == 0 and n_control == 0):
        return _so_far(_absent(blank), rules)
    both = compared(guard, trial, control) if sides.pairs else None
    if both is None:
        here = degradation(guard, kind, trial, control)
    elif guard.dispensable and both.values.size == 0:
        return _absent(blank)
    else:
        here = paired(both.values, both.subjects)
    if here is None:
        return _so_far(blank, rules)
    planned = before.planned or here.information * max(1.0, rules.ahead)
    total = before.information + here.information
    value = (before.value * before.information + here.value * here.information) / total
    summed = Carried(value=value, information=total, planned=planned, kind=kind)
    if both is not None and kind is GuardKind.RATE:
        where = pair_bounds(both.values, alpha=rules.alphas[guard.name], subjects=both.subjects)
        return _judged(blank, summed, where)
    return _judged(blank, summed, _mixed(summed, alpha=rules.alphas[guard.name]))


def _so_far(blank: GuardFound, rules: Rules) -> GuardFound:
    """Judge a guardrail by earlier steps, where this step has no data yet."""
    before = blank.carried
    if before.information == 0.0:
        return blank
    return _judged(blank, before, _mixed(before, alpha=rules.alphas[blank.name]))


def _mixed(total: Carried, *, alpha: float) -> Bounds:
    found = Difference(value=total.value, variance=1.0 / total.information, units=FEWEST_UNITS)
    return bounds(found, alpha=alpha, planned=total.planned or total.information)


def _judged(blank: GuardFound, total: Carried, where: Bounds) -> GuardFound:
    outcome = GuardOutcome.UNSURE
    if where.lo > blank.bar:
        outcome = GuardOutcome.FAILED
    elif where.hi < blank.margin:
        outcome = GuardOutcome.PASSED
    return replace(
        blank, outcome=outcome, value=where.value, lo=where.lo, hi=where.hi, carried=total
    )


def _absent(blank: GuardFound) -> GuardFound:
    return replace(blank, outcome=GuardOutcome.ABSENT, trial=0, control=0)
