"""What can stand in the way of moving traffic: one small check for each guard. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from monitor.domain import Blame, VerdictKind
from monitor.store.actions import ActionState
from monitor.store.common_cause import Company
from monitor.store.words import by_a_person
from monitor.traffic.arms import serving_arm
from monitor.traffic.fallback.machine import whole
from monitor.traffic.fallback.scene import Question, Scene
from monitor.traffic.settings import RoutingSettings


class Gate(StrEnum):
    """What stood in the way."""

    EVIDENCE = "evidence"
    VERDICT = "verdict"
    TRAFFIC = "traffic"
    UNFINISHED = "unfinished"
    AGE = "age"
    PERSON = "person"
    HOLD = "hold"
    COMMON_CAUSE = "common_cause"
    FLEET_UNSEEN = "fleet_unseen"
    TARGET = "target"
    KILL_SWITCH = "kill_switch"
    FLEET_INCIDENT = "fleet_incident"
    SELF_HEALTH = "self_health"
    COOL_DOWN = "cool_down"
    ADAPTER_BUDGET = "adapter_budget"
    FLEET_BUDGET = "fleet_budget"


Check = Callable[[Question], str | None]
"""The reason not to, or None."""


def held(scene: Scene, now: datetime) -> str | None:
    """Say until when a person has pinned the route, or None."""
    until = scene.route.hold_until if scene.route else None
    if until is None or now >= until:
        return None
    return f"the route is held until {until.isoformat()}"


def _no_evidence(question: Question) -> str | None:
    return None if question.evidence.allowed else question.evidence.reason


def _not_critical(question: Question) -> str | None:
    verdict = question.scene.verdict
    if verdict is not None and verdict.kind is VerdictKind.CRITICAL:
        return None
    return f"the stored verdict is {verdict.kind.value if verdict else 'missing'}"


def _no_traffic(question: Question) -> str | None:
    route = question.scene.route
    if route is None:
        return "the adapter has no route"
    if serving_arm(route.route, question.scene.version.name) is None:
        return f"{question.scene.version.label} answers nobody through stable or fallback"
    return None


def unfinished(scene: Scene) -> str | None:
    """Say which move of the adapter's traffic is under way or in doubt, or None."""
    last, route = scene.moved, scene.route
    if last is None or route is None:
        return None
    in_doubt = last.state in {ActionState.EXECUTING, ActionState.APPLIED}
    # Until somebody sets another route, what the router really does is not known.
    unverified = (
        last.state is ActionState.VERIFY_FAILED
        and route.route.generation == (last.expected_generation or 0) + 1
    )
    return f"action {last.id} is {last.state.value}" if in_doubt or unverified else None


def _unfinished(question: Question) -> str | None:
    return unfinished(question.scene)


def _too_old(question: Question) -> str | None:
    age = question.now - question.evidence.at
    limit = question.settings.evidence_age
    return f"the evidence is {whole(age)} old > {limit}" if age > limit else None


def _set_since(question: Question) -> str | None:
    """Whoever set the route knew what was measured before; only what came since answers them."""
    row, measured = question.scene.route, question.evidence.measured_from
    if row is None or not by_a_person(row.actor) or measured is None:
        return None
    if measured > row.route.since:
        return None
    return (
        f"{row.actor} set the route at {row.route.since.isoformat(timespec='seconds')}, and what"
        f" speaks against it was measured from {measured.isoformat(timespec='seconds')} on"
    )


def _on_hold(question: Question) -> str | None:
    return held(question.scene, question.now)


def _limit(settings: RoutingSettings, company: Company) -> int:
    share = math.ceil(settings.blast_share * company.adapters)
    return max(settings.blast_floor, share)


def common_cause(scene: Scene, settings: RoutingSettings) -> str | None:
    """Say how many adapters turned critical together, where they are too many; else None."""
    company = scene.company
    if company is None or company.critical < _limit(settings, company):
        return None
    return (
        f"{company.critical} of {company.adapters} adapters turned critical within"
        f" {settings.cycle} (limit {_limit(settings, company)}): a common cause"
    )


def _common_cause(question: Question) -> str | None:
    return common_cause(question.scene, question.settings)


def _fleet_unseen(question: Question) -> str | None:
    """The first of many to break must not act before the others could be looked at.

    Not needed where probes have shown that this adapter moved and the base did not.
    """
    company, verdict = question.scene.company, question.scene.verdict
    if company is None or verdict is None or verdict.blame is Blame.ADAPTER:
        return None
    waited = question.now - verdict.since
    possible = company.critical + company.unseen
    if waited >= question.settings.cycle or possible < _limit(question.settings, company):
        return None
    return f"{company.unseen} other adapters have not been evaluated since it turned critical"


def _no_target(question: Question) -> str | None:
    targets = question.scene.targets
    if targets.usable:
        return None
    return "no version to fall back to" + (
        f": {'; '.join(targets.refused)}" if targets.refused else ""
    )


def killed(scene: Scene) -> str | None:
    """Say who has set the kill switch, or None."""
    switch = scene.kill_switch
    return f"kill switch: {switch.reason}" if switch.on else None


def _killed(question: Question) -> str | None:
    return killed(question.scene)


def fleet_incident(scene: Scene) -> str | None:
    """While its base or engine is in question, even an adapter that stands apart stays put."""
    incident = scene.fleet_incident
    if incident is None:
        return None
    return f"fleet incident {incident} is open: its base or engine changed"


def _fleet_incident(question: Question) -> str | None:
    return fleet_incident(question.scene)


def unwell(scene: Scene) -> str | None:
    """Say why Driftline should not believe itself about the version, or None."""
    return "; ".join(scene.unwell) or None


def _unwell(question: Question) -> str | None:
    return unwell(question.scene)


def cooling_down(
    taken: Sequence[datetime], settings: RoutingSettings, *, now: datetime
) -> str | None:
    """Say how long ago the adapter's last automatic fallback was, where too short; else None.

    ``taken`` is newest first, here and below.
    """
    if not taken or now - taken[0] >= settings.cool_down:
        return None
    return f"last fallback {now - taken[0]} ago < {settings.cool_down}"


def _cooling_down(question: Question) -> str | None:
    return cooling_down(question.scene.taken_here, question.settings, now=question.now)


def adapter_spent(
    taken: Sequence[datetime], settings: RoutingSettings, *, now: datetime
) -> str | None:
    """Say how many automatic fallbacks the adapter had, where none is left; else None."""
    recent = [at for at in taken if now - at < settings.adapter_window]
    return _spent(recent, settings.adapter_budget, settings.adapter_window, of="adapter")


def _adapter_spent(question: Question) -> str | None:
    return adapter_spent(question.scene.taken_here, question.settings, now=question.now)


def fleet_spent(
    taken: Sequence[datetime], settings: RoutingSettings, *, now: datetime
) -> str | None:
    """Say the same of all adapters together."""
    recent = [at for at in taken if now - at < settings.fleet_window]
    return _spent(recent, settings.fleet_budget, settings.fleet_window, of="fleet")


def _fleet_spent(question: Question) -> str | None:
    return fleet_spent(question.scene.taken_fleet, question.settings, now=question.now)


def _spent(taken: Sequence[datetime], budget: int, window: timedelta, *, of: str) -> str | None:
    if len(taken) < budget:
        return None
    return f"{len(taken)} fallbacks of the {of} within {window} >= {budget}"


ASKED_FOR: Final[tuple[tuple[Gate, Check], ...]] = (
    (Gate.EVIDENCE, _no_evidence),
    (Gate.VERDICT, _not_critical),
    (Gate.TRAFFIC, _no_traffic),
    (Gate.UNFINISHED, _unfinished),
)
"""Shut: there is nothing to decide, and nothing is stored."""
SENSIBLE: Final[tuple[tuple[Gate, Check], ...]] = (
    (Gate.AGE, _too_old),
    (Gate.PERSON, _set_since),
    (Gate.HOLD, _on_hold),
    (Gate.COMMON_CAUSE, _common_cause),
    (Gate.FLEET_UNSEEN, _fleet_unseen),
    (Gate.TARGET, _no_target),
)
"""Shut: it would be wrong to move traffic, whoever does it."""
AUTOMATIC_ONLY: Final[tuple[tuple[Gate, Check], ...]] = (
    (Gate.KILL_SWITCH, _killed),
    (Gate.FLEET_INCIDENT, _fleet_incident),
    (Gate.SELF_HEALTH, _unwell),
    (Gate.COOL_DOWN, _cooling_down),
    (Gate.ADAPTER_BUDGET, _adapter_spent),
    (Gate.FLEET_BUDGET, _fleet_spent),
)
"""Shut: Driftline may not do it by itself now."""
