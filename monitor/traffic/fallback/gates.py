"""The gates that can stop a move of traffic: one small check each. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from alerts.types import Blame, VerdictKind
from alerts.words import clock_time, duration
from monitor.store.people.words import by_a_person
from monitor.store.traffic.actions import ActionState
from monitor.store.traffic.common_cause import BaseFleet
from monitor.traffic.arms import serving_arm
from monitor.traffic.fallback.gate_names import Gate
from monitor.traffic.fallback.machine import ELSEWHERE
from monitor.traffic.fallback.scene import MoveQuestion, Scene
from monitor.traffic.gates import base_in_question, held, killed
from monitor.traffic.settings import RoutingSettings

Check = Callable[[MoveQuestion], str | None]
"""Returns the reason against a move, or None."""


def _not_critical(question: MoveQuestion) -> str | None:
    verdict = question.scene.verdict
    if verdict is None or verdict.kind is not VerdictKind.CRITICAL:
        found = verdict.kind.value if verdict else "nothing yet"
        return f"its newest check found: {found}"
    if verdict.blame in ELSEWHERE:  # judged again since this evidence
        return f"the newest verdict blames {verdict.blame.value}: another version would not help"
    return None


def _no_traffic(question: MoveQuestion) -> str | None:
    route = question.scene.route
    if route is None:
        return "Driftline has no route of this adapter"
    if serving_arm(route.route, question.scene.version.name) is None:
        return f"{question.scene.version.label} has no traffic of its own"
    return None


def unfinished(scene: Scene) -> str | None:
    """Say which move of the adapter's traffic is under way or unconfirmed, or None."""
    last, route = scene.moved, scene.route
    if last is None or route is None:
        return None
    in_doubt = last.state in {ActionState.EXECUTING, ActionState.APPLIED}
    # The router's real state is unknown until somebody sets another route.
    unverified = (
        last.state is ActionState.VERIFY_FAILED
        and route.route.generation == (last.expected_generation or 0) + 1
    )
    if not in_doubt and not unverified:
        return None
    return f"the router has not confirmed an earlier move (action {last.id})"


def _too_old(question: MoveQuestion) -> str | None:
    age = question.now - question.evidence.at
    limit = question.settings.evidence_age
    return aged(age, limit) if age > limit else None


def aged(age: timedelta, limit: timedelta) -> str:
    """Say that a measurement is too old to act on."""
    return f"what was found is {duration(age)} old (at most {duration(limit)})"


def _set_since(question: MoveQuestion) -> str | None:
    """Refuse evidence measured before a person set the route.

    That person knew the earlier measurements; only later ones may overrule the decision.
    """
    row, measured = question.scene.route, question.evidence.measured_from
    if row is None or not by_a_person(row.actor) or measured is None:
        return None
    if measured > row.route.since:
        return None
    set_at = clock_time(row.route.since, now=question.now)
    return (
        f"{row.actor} set the route at {set_at}, and what was found is older"
        f" ({clock_time(measured, now=question.now)}): ask {row.actor} before you change it"
    )


def _limit(settings: RoutingSettings, company: BaseFleet) -> int:
    share = math.ceil(settings.blast_share * company.adapters)
    return max(settings.blast_floor, share)


def common_cause(scene: Scene, settings: RoutingSettings) -> str | None:
    """Say how many adapters turned critical together, if too many did; else None."""
    company = scene.company
    if company is None or company.critical < _limit(settings, company):
        return None
    return (
        f"{company.critical} of {company.adapters} adapters turned critical within"
        f" {duration(settings.cycle)}, so the engine or the base may be at fault"
    )


def _fleet_unseen(question: MoveQuestion) -> str | None:
    """Stop the first move while other adapters of the base are not yet looked at.

    No wait is needed where probes have shown that this adapter moved and the base did not.
    """
    company, verdict = question.scene.company, question.scene.verdict
    if company is None or verdict is None or verdict.blame is Blame.ADAPTER:
        return None
    waited = question.now - verdict.since
    possible = company.critical + company.unseen
    if waited >= question.settings.cycle or possible < _limit(question.settings, company):
        return None
    again = clock_time(verdict.since + question.settings.cycle, now=question.now)
    others = "adapter has" if company.unseen == 1 else "adapters have"
    return (
        f"{company.unseen} other {others} not been checked since, so it may be the engine;"
        f" Driftline looks again by {again}"
    )


def _no_target(question: MoveQuestion) -> str | None:
    targets = question.scene.targets
    if targets.usable:
        return None
    if not targets.refused:
        return "there is no version to move to"
    return f"the other versions are unfit: {'; '.join(targets.refused)}"


def unwell(scene: Scene) -> str | None:
    """Say why Driftline's own findings about the version are not trustworthy, or None."""
    return "; ".join(scene.unwell) or None


def cooling_down(
    taken: Sequence[datetime], settings: RoutingSettings, *, now: datetime
) -> str | None:
    """Say how long ago the last automatic fallback was, if the cool-down has not ended; else None.

    ``taken`` is newest first, here and below.
    """
    if not taken or now - taken[0] >= settings.cool_down:
        return None
    last, least = duration(now - taken[0]), duration(settings.cool_down)
    return f"Driftline moved its traffic {last} ago, and {least} must pass"


def adapter_spent(
    taken: Sequence[datetime], settings: RoutingSettings, *, now: datetime
) -> str | None:
    """Say how many automatic fallbacks the adapter had, if its budget is spent; else None."""
    recent = [at for at in taken if now - at < settings.adapter_window]
    return _spent(recent, settings.adapter_budget, settings.adapter_window, of="this adapter")


def fleet_spent(
    taken: Sequence[datetime], settings: RoutingSettings, *, now: datetime
) -> str | None:
    """Say the same for all adapters together."""
    recent = [at for at in taken if now - at < settings.fleet_window]
    return _spent(recent, settings.fleet_budget, settings.fleet_window, of="the fleet")


def _spent(taken: Sequence[datetime], budget: int, window: timedelta, *, of: str) -> str | None:
    if len(taken) < budget:
        return None
    times = "once" if len(taken) == 1 else f"{len(taken)} times"
    return f"Driftline moved traffic of {of} {times} within {duration(window)} (at most {budget})"


ASKED_FOR: Final[tuple[tuple[Gate, Check], ...]] = (
    (Gate.EVIDENCE, lambda q: None if q.evidence.allowed else q.evidence.reason),
    (Gate.VERDICT, _not_critical),
    (Gate.TRAFFIC, _no_traffic),
    (Gate.UNFINISHED, lambda q: unfinished(q.scene)),
)
"""Shut: there is nothing to decide, and no action is stored."""
SENSIBLE: Final[tuple[tuple[Gate, Check], ...]] = (
    (Gate.AGE, _too_old),
    (Gate.PERSON, _set_since),
    (Gate.HOLD, lambda q: held(q.scene.route, q.now)),
    (Gate.COMMON_CAUSE, lambda q: common_cause(q.scene, q.settings)),
    (Gate.FLEET_UNSEEN, _fleet_unseen),
    (Gate.TARGET, _no_target),
)
"""Shut: moving the traffic would be wrong, for a person as well."""
AUTOMATIC_ONLY: Final[tuple[tuple[Gate, Check], ...]] = (
    (Gate.KILL_SWITCH, lambda q: killed(q.scene.kill_switch)),
    (Gate.FLEET_INCIDENT, lambda q: base_in_question(q.scene.fleet_incident)),
    (Gate.SELF_HEALTH, lambda q: unwell(q.scene)),
    (Gate.COOL_DOWN, lambda q: cooling_down(q.scene.taken_here, q.settings, now=q.now)),
    (Gate.ADAPTER_BUDGET, lambda q: adapter_spent(q.scene.taken_here, q.settings, now=q.now)),
    (Gate.FLEET_BUDGET, lambda q: fleet_spent(q.scene.taken_fleet, q.settings, now=q.now)),
)
"""Shut: Driftline may not move the traffic by itself now."""
