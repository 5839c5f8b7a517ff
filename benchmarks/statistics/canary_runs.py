"""Canaries by the thousand, through the machine and the measurement, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from detectors.feedback import Directions
from detectors.trial import Failures
from monitor.traffic.trial.columns import Column
from monitor.traffic.trial.guards import HARD, alphas, guards_of, held_to
from monitor.traffic.trial.machine import step
from monitor.traffic.trial.measure import Carried, GuardFound, Rules, Sides, measure
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    Looked,
    Phase,
    PrechecksLooked,
    Promote,
    ReadBack,
    SetWeight,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the version on trial really is, beside a stable one with 85 % success.

    ``worse`` in points of success, ``shift`` of the mean NLL in its sd, ``errors`` as a rate.
    ``agree`` is the share of prompts that a shadow answers as its original was.
    """

    requests_per_day: float
    solved: float = 0.85
    worse: float = 0.0
    shift: float = 0.0
    errors: float = 0.0
    stable_errors: float = 0.001
    agree: float = 0.7


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a canary ended, after how long, and how many requests its last step had."""

    phase: Phase
    pause: str | None
    after: timedelta
    requests: int
    reason: str


@dataclass
class Arm:
    """What one arm answered in this step; buffers, because a look adds little to much."""

    solved: np.ndarray = field(default_factory=lambda: np.empty(1024))
    nll: np.ndarray = field(default_factory=lambda: np.empty(1024))
    n: int = 0

    def add(self, solved: np.ndarray, nll: np.ndarray) -> None:
        while self.n + solved.size > self.solved.size:
            self.solved = np.concatenate([self.solved, np.empty_like(self.solved)])
            self.nll = np.concatenate([self.nll, np.empty_like(self.nll)])
        here = slice(self.n, self.n + solved.size)
        self.solved[here], self.nll[here] = solved, nll
        self.n += solved.size

    def columns(self) -> dict[str, Column]:
        both = {"feedback.solved": self.solved, "mean_nll": self.nll}
        return {name: Column(values=values[: self.n]) for name, values in both.items()}


def run_one(
    truth: Truth,
    rng: np.random.Generator,
    *,
    settings: CanarySettings | None = None,
    every: timedelta = timedelta(minutes=5),
    longest: timedelta = timedelta(days=8),
    shadow: bool = False,
) -> Ran:
    """Run one canary to its end, or to a pause for a person."""
    settings = settings or CanarySettings(signals=("mean_nll",))
    plan = settings.plan(shadow=shadow)
    names = Directions(higher_is_better=("solved",))
    guards = held_to(guards_of(settings.signals, names, settings.critical), shadow=shadow)
    state, _ = step(CanaryState(), PrechecksLooked(passed=True, reason=""), plan=plan, now=NOW)
    state, _ = step(state, ReadBack(problem=None), plan=plan, now=NOW)
    now, carried = NOW, dict[str, Carried]()
    trial, control = Arm(), Arm()
    failures: dict[str, list[Failures]] = {name: [] for name in HARD}
    while now - NOW < longest:
        now += every
        each = truth.requests_per_day * (every / timedelta(days=1))
        n = int(rng.poisson(each if shadow else each * state.weight))
        m = n if shadow else int(rng.poisson(each * (1.0 - state.weight)))
        _answer((trial, control), (n, m), truth, rng, pairs=shadow)
        _fail(failures, n, m, truth, rng)
        sides = Sides(
            trial=trial.columns(),
            control=control.columns(),
            trial_requests=trial.n,
            control_requests=control.n,
            pairs=shadow,
        )
        passed = now - (state.step_since or NOW)
        rules = Rules(
            alphas=alphas(guards, settings.alpha),
            margin_rate=settings.margin_rate,
            margin_rank=settings.margin_rank,
            ahead=plan.steps[state.step].lasts / passed,
        )
        found = measure(sides, guards, carried=carried, failures=failures, rules=rules)
        before = state
        state, effects = step(state, Looked(found=found.found), plan=plan, now=now)
        carried = _carried(carried, found.guards, closed=state.step != before.step)
        if state.step != before.step:
            trial, control = Arm(), Arm()
        if any(isinstance(effect, (Promote, SetWeight)) for effect in effects):  # it obeys
            state, _ = step(state, ReadBack(problem=None), plan=plan, now=now)
        if state.ended or state.phase is Phase.PAUSED:
            break
    return Ran(
        phase=state.phase,
        pause=state.pause.value if state.pause else None,
        after=now - NOW,
        requests=sides.trial_requests,
        reason=state.reason,
    )


def _carried(
    before: dict[str, Carried], guards: Sequence[GuardFound], *, closed: bool
) -> dict[str, Carried]:
    """As the judge keeps it: sums of closed steps, and what was fixed at the first look."""
    kept = dict(before)
    for guard in guards:
        latest = guard.carried
        old = before.get(guard.name, Carried())
        kept[guard.name] = (
            latest
            if closed
            else Carried(
                value=old.value,
                information=old.information,
                planned=latest.planned,
                kind=latest.kind,
            )
        )
    return kept


def _answer(
    arms: tuple[Arm, Arm],
    counts: tuple[int, int],
    truth: Truth,
    rng: np.random.Generator,
    *,
    pairs: bool,
) -> None:
    (trial, control), (n, m) = arms, counts
    if pairs:
        one = (rng.random(n) < truth.solved).astype(float)
        again = rng.random(n) < truth.agree
        other = np.where(again, one, (rng.random(n) < truth.solved).astype(float))
        fallen = (rng.random(n) < truth.worse / truth.solved) & (other > 0)
        mine = np.where(fallen, 0.0, other)
    else:
        mine = (rng.random(n) < truth.solved - truth.worse).astype(float)
        one = (rng.random(m) < truth.solved).astype(float)
    trial.add(mine, rng.normal(0.4 + 0.1 * truth.shift, 0.1, n))
    control.add(one, rng.normal(0.4, 0.1, m))


def _fail(
    failures: dict[str, list[Failures]], n: int, m: int, truth: Truth, rng: np.random.Generator
) -> None:
    for name in HARD:
        rates = (truth.errors or truth.stable_errors, truth.stable_errors)
        rates = rates if name == "error" else (0.0, 0.0)
        seen = Failures(
            trial_requests=n,
            control_requests=m,
            trial_failures=int(rng.binomial(n, rates[0])),
            control_failures=int(rng.binomial(m, rates[1])),
        )
        if seen.trial_failures or seen.control_failures:  # a look without any tells nothing
            failures[name].append(seen)
