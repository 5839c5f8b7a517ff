"""The numbers of canaries; each field is a key of ``[canary]`` in the config."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from monitor.traffic.trial.guards import DEFAULT, SIGNALS
from monitor.traffic.trial.states import CanaryStep, OnBlind, Plan

SETTLES: Final = timedelta(minutes=15)
FEWEST: Final = 200
"""Fewest requests of the canary before a promotion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """Settings of canaries where a person gives no others.

    interval, lag
        Time between two looks, and how far behind now a look ends, for records under way.
    weights, lasts, requests
        Share, least time, and least requests of either arm, for each step before promotion.
    shadow_lasts
        Least time of a canary that only answers copies.
    extensions, blind_looks, blind_max, on_blind
        See :class:`monitor.traffic.trial.states.Plan`.
    alpha
        Accepted false rollbacks of a canary, divided over its guardrails.
    margin_rate, margin_rank
        Largest accepted degradation: difference of rates; Cliff's delta.
    signals, critical
        Guardrails beside the named feedback; those that roll back on any proven worsening.
    prechecks_wait
        How long a canary waits for unknown results of prechecks.
    perplexity_margin
        Largest ratio of the canary's perplexity to the stable version's, minus 1.
    rollbacks, rollbacks_window
        Most automatic rollbacks of all adapters in a window; then a person is asked.
    read_back
        How long a router may take to follow the route; then people are told.
    lease
        After this another process takes over a look.
    """

    interval: timedelta = timedelta(minutes=5)
    lag: timedelta = timedelta(seconds=30)
    weights: tuple[float, ...] = (0.05, 0.25, 0.5)
    lasts: tuple[timedelta, ...] = (timedelta(hours=24), timedelta(hours=6), timedelta(hours=6))
    requests: int = FEWEST
    shadow_lasts: timedelta = timedelta(hours=24)
    extensions: int = 3
    blind_looks: int = 4
    blind_max: timedelta = timedelta(minutes=60)
    on_blind: OnBlind = OnBlind.ROLLBACK
    alpha: float = 0.05
    margin_rate: float = 0.05
    margin_rank: float = 0.2
    signals: tuple[str, ...] = DEFAULT
    critical: tuple[str, ...] = ()
    prechecks_wait: timedelta = timedelta(hours=1)
    perplexity_margin: float = 0.05
    rollbacks: int = 3
    rollbacks_window: timedelta = timedelta(hours=1)
    read_back: timedelta = timedelta(seconds=30)
    lease: timedelta = timedelta(seconds=90)

    @property
    def steps(self) -> tuple[CanaryStep, ...]:
        """The steps; empty where weights and times do not fit together."""
        if len(self.weights) != len(self.lasts):
            return ()
        pairs = zip(self.weights, self.lasts, strict=True)
        return tuple(
            CanaryStep(weight=weight, lasts=lasts, requests=self.requests)
            for weight, lasts in pairs
        )

    @property
    def settles(self) -> timedelta:
        """How long a canary must run after a pause before what was told of it is over.

        As long as it takes to find it blind, and never a few seconds: so a canary that is blind
        now and then is told once.
        """
        return max(SETTLES, self.interval * (self.blind_looks + 1))

    @property
    def problems(self) -> list[str]:
        """List the contradictions between these numbers, each with its key."""
        found = []
        if len(self.weights) != len(self.lasts):
            found.append(f"lasts: {len(self.lasts)} times for {len(self.weights)} weights")
        else:
            found += [f"weights: {problem}" for problem in step_problems(self.steps)]
        strange = [name for name in self.signals if name not in SIGNALS]
        found += [
            f"signals: no guardrail {name!r}; there are {', '.join(SIGNALS)}" for name in strange
        ]
        if not 0.0 < self.alpha < 1.0:
            found.append(f"alpha: must be between 0 and 1, not {self.alpha:g}")
        if self.interval <= timedelta():
            found.append("interval: must be longer than 0")
        if self.interval * 2 > self.blind_max:
            found.append("blind_max: must be at least twice the interval, or no look comes in time")
        return found

    def plan(self, *, steps: tuple[CanaryStep, ...] = (), shadow: bool = False) -> Plan:
        """Fix the rules of one canary; ``steps`` replace those of the config.

        Raises
        ------
        ValueError
            The steps are invalid; the message lists every problem.
        """
        if shadow and steps:
            raise ValueError("a shadow has no steps: begin them with one of weight 0 instead")
        alone = CanaryStep(weight=0.0, lasts=self.shadow_lasts, requests=self.requests)
        taken = (alone,) if shadow else steps or self.steps
        problems = step_problems(taken)
        if problems:
            raise ValueError("; ".join(problems))
        return Plan(
            steps=taken,
            extensions=self.extensions,
            blind_looks=self.blind_looks,
            blind_max=self.blind_max,
            on_blind=self.on_blind,
        )


def step_problems(steps: tuple[CanaryStep, ...]) -> list[str]:
    """List what is wrong with the steps; empty where nothing is."""
    if not steps:
        return ["a canary needs a step"]
    problems = []
    for number, step in enumerate(steps, start=1):
        if not 0.0 <= step.weight < 1.0:
            problems.append(f"step {number}: a weight is in [0, 1), not {step.weight:g}")
        if step.lasts <= timedelta():
            problems.append(f"step {number}: a step lasts longer than nothing")
        if step.requests < FEWEST:
            problems.append(
                f"step {number}: at least {FEWEST} requests of either arm, not {step.requests}"
            )
    weights = [step.weight for step in steps]
    if weights != sorted(set(weights)):
        problems.append("each step has a larger weight than the one before")
    return problems
