"""One look's measurement: reading, comparison, and storage between looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from alerts.message import finite
from detectors.trial import Failures
from monitor.store import clock
from monitor.store.clock import Clock
from monitor.store.database import Database
from monitor.store.traffic import canary_looks
from monitor.store.traffic.canaries import CanaryRow
from monitor.traffic.trial.guards import Guard, alphas, held_to
from monitor.traffic.trial.hands import LookDetails
from monitor.traffic.trial.measure import Carried, Measurement, Rules, measure
from monitor.traffic.trial.reading import SidesRead, Trial, read
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import CanaryState, Plan, plan_from_json

_COUNTS: Final = ("trial_requests", "control_requests", "trial_failures", "control_failures")
"""Of a look's failures, in the order in which they are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLook:
    """The result of a look. ``measurement`` None: ``trouble`` says why there is none."""

    measurement: Measurement | None = None
    stored: LookDetails | None = None
    trouble: str = ""


def compare(
    database: Database,
    canary: CanaryRow,
    state: CanaryState,
    *,
    settings: CanarySettings,
    known: Clock | None,
    now: datetime,
) -> TrialLook:
    """Compare both arms from the step's begin until a little before ``now``.

    ``known`` is what is known of the clock.

    Raises the errors of reading.
    """
    plan = plan_from_json(canary.plan)
    shadow = plan.steps[state.step].shadow
    guards = held_to(guards_from_json(canary.guards), shadow=shadow)
    begun, since = state.begun_at or now, state.step_since or now
    end = max(since, now - settings.lag)
    trial = Trial(
        adapter_id=canary.adapter_id,
        version_id=canary.version_id,
        control_id=canary.control_id,
        since=since,
        usual_until=clock.before(known, since),
        last_look=max(begun, canary.measured_until or begun),
        end=end,
        shadow=shadow,
    )

    def work(tx: Connection) -> tuple[SidesRead, list[Mapping[str, Any]]]:
        return read(tx, trial, guards), canary_looks.failures(tx, canary.id, since=begun)

    got, earlier = database.run(work)
    if got.silent is not None:
        return TrialLook(trouble=got.silent)
    measurement = measure(
        got.sides,
        guards,
        carried=carried_from_json(canary.carried.get("closed", {})),
        failures=_all_failures(got, earlier),
        rules=_rules(guards, plan, state, settings, end),
    )
    return TrialLook(measurement=measurement, stored=_as_stored(got, measurement, end))


# met here once: alerts/message.py says why
msgspec.json.Decoder(Guard)
msgspec.json.Decoder(Carried)


def guards_to_json(guards: Sequence[Guard]) -> list[dict[str, object]]:
    """Write guardrails as they are stored with a canary."""
    return [dict(msgspec.to_builtins(guard)) for guard in guards]


def guards_from_json(bodies: Sequence[Mapping[str, Any]]) -> list[Guard]:
    """Read what :func:`guards_to_json` wrote."""
    return msgspec.convert([dict(body) for body in bodies], list[Guard])


def _rules(
    guards: Sequence[Guard], plan: Plan, state: CanaryState, settings: CanarySettings, end: datetime
) -> Rules:
    passed = max(end - (state.step_since or end), timedelta(seconds=1))
    return Rules(
        alphas=alphas(guards, settings.alpha / plan.processes),
        margin_rate=settings.margin_rate,
        margin_rank=settings.margin_rank,
        ahead=plan.steps[state.step].lasts / passed,
    )


def carried_from_json(bodies: Mapping[str, Any]) -> dict[str, Carried]:
    """Read the carried sums of each guardrail, as stored with a canary."""
    return {name: msgspec.convert(body, Carried) for name, body in bodies.items()}


def _all_failures(
    got: SidesRead, earlier: Sequence[Mapping[str, Any]]
) -> dict[str, list[Failures]]:
    return {
        name: [*(_failures(look[name]) for look in earlier if name in look), now]
        for name, now in got.failures.items()
    }


def _failures(counts: Sequence[int]) -> Failures:
    return Failures(**dict(zip(_COUNTS, counts, strict=True)))


def _as_stored(got: SidesRead, measurement: Measurement, end: datetime) -> LookDetails:
    guards = [finite(msgspec.to_builtins(guard)) for guard in measurement.guards]
    bodies = [body for body in guards if isinstance(body, dict)]
    return LookDetails(
        outcome=measurement.found.outcome.value,
        trial_requests=measurement.trial_requests,
        control_requests=measurement.control_requests,
        guards=[{k: v for k, v in body.items() if k != "carried"} for body in bodies],
        failures={
            name: [getattr(one, count) for count in _COUNTS] for name, one in got.failures.items()
        },
        totals={body["name"]: body["carried"] for body in bodies if body["kind"] != "hard"},
        until=end,
    )
