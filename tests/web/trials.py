"""Canaries as a page may meet them: one running, one held, one rolled back, one checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import msgspec
import numpy as np
from sqlalchemy import Connection

from detectors.feedback import Directions
from detectors.trial import Failures
from monitor.store.registry import adapters, versions
from monitor.store.traffic import canaries, canary_looks
from monitor.store.traffic.canaries import CanaryId, CanaryProgress
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.traffic.trial.columns import Column
from monitor.traffic.trial.guards import Guard, alphas, guards_of
from monitor.traffic.trial.measure import Measurement, Rules, Sides, measure
from monitor.traffic.trial.states import (
    CanaryState,
    CanaryStep,
    Pause,
    Phase,
    Plan,
    TrialMove,
    to_json,
)

HOSTILE = "<script>alert(1)</script>"
PLAN = Plan(
    steps=(
        CanaryStep(weight=0.1, lasts=timedelta(hours=24), requests=400),
        CanaryStep(weight=0.5, lasts=timedelta(hours=12), requests=400),
    )
)
GUARDS = guards_of(
    ("mean_nll", "entropy", "latency_ms", "refusal", "truncated"),
    Directions(higher_is_better=("solved",)),
    ("refusal",),
)
RULES = Rules(alphas=alphas(GUARDS, 0.05), margin_rate=0.05, margin_rank=0.2)


def seed(tx: Connection, *, now: datetime) -> Mapping[str, CanaryId]:
    """Fill a database that :func:`tests.web.moves.seed` has filled with canaries, by phase."""
    begun = now - timedelta(hours=15)
    running = begin(tx, "catalogue", "v2", "v1", by="ann", at=begun)
    watch(tx, running, begun, now, worse=0.0, phase=Phase.RUNNING)
    held = begin(tx, "onboarding", HOSTILE, "v1", by=HOSTILE, at=now - timedelta(hours=4))
    watch(tx, held, now - timedelta(hours=4), now, worse=0.9, phase=Phase.PAUSED)
    back = begin(tx, "legal-summaries", "v2", "v1", by="ann", at=now - timedelta(days=2))
    watch(tx, back, now - timedelta(days=2), now - timedelta(hours=40), worse=0.9,
            phase=Phase.ROLLED_BACK)  # fmt: skip
    checked = begin(tx, "search-rewrite", "v2", "v1", by="ci", at=now)
    return {"running": running, "held": held, "back": back, "checked": checked}


def begin(
    tx: Connection, adapter: str, name: str, control: str, *, by: str, at: datetime
) -> CanaryId:
    """Begin a canary of a version, which is registered if it is not known."""
    version = versions.fetch(tx, adapter=adapter, name=name)
    if version is None:
        known = adapters.fetch(tx, adapter)
        assert known is not None
        version = versions.put(tx, adapter=known, name=name, model=f"{adapter}@{name}")
    stable = versions.fetch(tx, adapter=adapter, name=control)
    assert stable is not None
    state = CanaryState(phase=Phase.PRECHECKS, since=at, reason="perplexity of v2 is not known yet")
    return canaries.add(
        tx,
        version,
        control=stable,
        plan=to_json(PLAN),
        state=to_json(state),
        guards=msgspec.to_builtins(GUARDS),
        unchecked=("sha256: none was registered",),
        mode=None,
        by=by,
        now=at,
    ).id


_STANDS = {
    Phase.RUNNING: "measuring until {:%Y-%m-%d %H:%M} UTC",
    Phase.PAUSED: "not rolled back: mode observe leaves it to a person",
    Phase.ROLLED_BACK: "10 % of the requests got its answers, 188 in this step",
}


def watch(
    tx: Connection,
    canary: CanaryId,
    begun: datetime,
    until: datetime,
    *,
    worse: float,
    phase: Phase,
) -> None:
    """Let it have been looked at since it began, and leave it in a phase."""
    row = canaries.fetch(tx, canary)
    _write(tx, canary, begun, Phase.PRECHECKS, reason="perplexity of it is not known yet")
    _write(tx, canary, begun, Phase.RUNNING, reason="hash, adapter and perplexity fit")
    looks = int((until - begun) / timedelta(minutes=5))
    found = None
    every = max(2, looks // 30)
    for number in range(1, looks + 1, every):
        at = begun + timedelta(minutes=5 * number)
        if 20 < number < 28:
            _write(tx, canary, at, Phase.RUNNING, reason="the store did not answer", trouble=True)
            continue
        found = _measured(number, of=looks, worse=worse)
        last = number + every > looks
        shown = phase if last else Phase.RUNNING
        _write(tx, canary, at, shown, found=found, reason=found.found.reason)
    assert found is not None
    pause = Pause.PERMISSION if phase is Phase.PAUSED else None
    state = CanaryState(
        phase=phase,
        weight=0.1,
        placed=phase is not Phase.ROLLED_BACK,
        since=until,
        step_since=begun,
        clock_since=begun,
        stopped_at=until if pause else None,
        pause=pause,
        proposal=TrialMove.ROLLBACK if pause else None,
        latched=phase is Phase.ROLLED_BACK,
        seen_at=until,
        reason=f"{found.found.reason}; {_STANDS[phase].format(begun + timedelta(hours=24))}",
    )
    progress = CanaryProgress(
        state=to_json(state),
        phase=phase,
        latched=state.latched,
        ended=state.ended,
        carried={},
        generation=row.generation,
        measured_until=until,
        next_look_at=until,
    )
    canaries.save(tx, canaries.fetch(tx, canary, lock=True), progress, now=until)


@cache
def _measured(number: int, *, of: int, worse: float) -> Measurement:
    """Both arms after some looks: 5 requests of the canary and 45 of the other in each."""
    one, other = np.random.default_rng(3), np.random.default_rng(4)
    trial = _columns(one, 2 * number, worse)
    control = _columns(other, 18 * number, 0.0)
    sides = Sides(
        trial=trial, control=control, trial_requests=2 * number, control_requests=18 * number
    )
    seen = Failures(
        trial_requests=2 * number,
        control_requests=18 * number,
        trial_failures=number // 40,
        control_failures=number // 9,
    )
    rules = replace(RULES, ahead=of / number)
    return measure(sides, GUARDS, carried={}, failures={"error": [seen]}, rules=rules)


def _columns(rng: np.random.Generator, n: int, worse: float) -> dict[str, Column]:
    return {guard.name: Column(values=_values(guard, rng, n, worse)) for guard in GUARDS}


def _values(guard: Guard, rng: np.random.Generator, n: int, worse: float) -> np.ndarray:
    match guard.name:
        case "feedback.solved":
            return (rng.random(n) < 0.85).astype(float)
        case "refusal":
            return (rng.random(n) < 0.03).astype(float)
        case "truncated":
            return np.full(n, math.nan)
        case _:
            return rng.normal(worse, 1.0, n)


def _write(
    tx: Connection,
    canary: CanaryId,
    at: datetime,
    phase: Phase,
    *,
    reason: str,
    found: Measurement | None = None,
    trouble: bool = False,
) -> None:
    guards: Sequence[Mapping[str, object]] | None = None
    if found is not None:
        bodies = msgspec.to_builtins(found.guards)
        guards = [{k: v for k, v in body.items() if k != "carried"} for body in bodies]
    looked = trouble or found is not None
    canary_looks.append(
        tx,
        canary,
        CanaryEvent(
            at=at,
            event="looked" if looked else "checked",
            phase=phase,
            pause="permission" if phase is Phase.PAUSED else None,
            step=0,
            weight=0.1 if phase is not Phase.PRECHECKS else 0.0,
            reason=reason,
            actor="driftline",
            outcome=found.found.outcome if found else None,
            trial_requests=found.trial_requests if found else None,
            control_requests=found.control_requests if found else None,
            guards=guards,
        ),
    )
