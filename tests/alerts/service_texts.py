"""Texts that the service puts into messages, made by its own code, for samples of messages."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from alerts.message import ActionLine
from alerts.types import VerdictKind
from monitor.domain import (
    ActionId,
    AdapterId,
    Arm,
    ArmKind,
    IncidentId,
    Mode,
    Route,
    Verdict,
    VerdictSeverity,
    Version,
    VersionId,
)
from monitor.evaluate.message import switched_off
from monitor.outbox.deeds import deed, with_stand_in
from monitor.policy import ActionEvidence
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store.traffic.actions import AUTOMATIC, ActionKind, ActionRow, ActionState
from monitor.store.traffic.common_cause import BaseFleet
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.fallback.breaker import doubt_words
from monitor.traffic.fallback.decision import decide_fallback
from monitor.traffic.fallback.gate_names import Gate
from monitor.traffic.fallback.scene import MoveQuestion, Scene
from monitor.traffic.fallback.targets import Targets
from monitor.traffic.killswitch import SwitchReading
from monitor.traffic.settings import RoutingSettings
from monitor.traffic.table import told as not_admitted
from monitor.traffic.trial.guards import GuardKind
from monitor.traffic.trial.machine import step
from monitor.traffic.trial.measure import GuardFound, GuardOutcome
from monitor.traffic.trial.news import CanaryNews, canary_news
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    Event,
    Found,
    Looked,
    LookOutcome,
    Permission,
    PrechecksLooked,
    ReadBack,
)
from tests.alert_samples import NOON

MINUTE = timedelta(minutes=1)
V6, V7 = (
    Version(
        id=VersionId(number),
        adapter_id=AdapterId(1),
        adapter="support",
        name=f"v{number}",
        model=f"support@v{number}",
        registered_at=NOON,
    )
    for number in (6, 7)
)
CRITICAL = Verdict(
    kind=VerdictKind.CRITICAL, severity=VerdictSeverity.PAGE, reason="", since=NOON - 5 * MINUTE
)
OFF = SwitchReading(on=False, reason="off")
ROUTE = RouteRow(
    route=Route(
        adapter="support",
        generation=3,
        arms=(Arm(arm=ArmKind.STABLE, version="v7", model="support@v7", weight=1.0),),
        reason="promoted",
        since=NOON - timedelta(days=3),
    ),
    actor="ci",
)
SCENE = Scene(
    version=V7,
    mode=Mode.AUTO,
    verdict=CRITICAL,
    route=ROUTE,
    kill_switch=OFF,
    company=BaseFleet(critical=1, adapters=20, unseen=0),
    targets=Targets(usable=(V6,)),
)
EVIDENCE = ActionEvidence(
    allowed=True, reason="answers less certain", at=NOON, measured_from=NOON - 8 * MINUTE
)
SETTINGS = RoutingSettings()


def asked(evidence: ActionEvidence = EVIDENCE, **changes: Any) -> MoveQuestion:
    return MoveQuestion(
        scene=replace(SCENE, **changes), evidence=evidence, settings=SETTINGS, now=NOON
    )


MOVED = ActionRow(
    id=ActionId(7),
    adapter_id=AdapterId(1),
    adapter="support",
    version_id=V7.id,
    version="v7",
    kind=ActionKind.FALLBACK,
    state=ActionState.VERIFIED,
    reason="confirmed by the router",
    evidence={"then": decide_fallback(asked()).then},
    expected_generation=3,
    target={"version_id": V6.id, "version": "v6", "model": "support@v6"},
    actor=AUTOMATIC,
    created_at=NOON,
    decided_at=NOON,
)
SHUT: dict[Gate, MoveQuestion] = {
    Gate.EVIDENCE: asked(ActionEvidence(allowed=False, reason="too few requests", at=NOON)),
    Gate.VERDICT: asked(verdict=replace(CRITICAL, kind=VerdictKind.STABLE)),
    Gate.TRAFFIC: asked(route=None),
    Gate.UNFINISHED: asked(moved=replace(MOVED, state=ActionState.APPLIED)),
    Gate.AGE: asked(replace(EVIDENCE, at=NOON - timedelta(hours=1))),
    Gate.PERSON: asked(
        route=replace(ROUTE, actor="ann", route=replace(ROUTE.route, since=NOON - MINUTE))
    ),
    Gate.HOLD: asked(route=replace(ROUTE, hold_until=NOON + timedelta(hours=4))),
    Gate.COMMON_CAUSE: asked(company=BaseFleet(critical=6, adapters=20, unseen=0)),
    Gate.FLEET_UNSEEN: asked(company=BaseFleet(critical=1, adapters=20, unseen=19)),
    Gate.TARGET: asked(targets=Targets(refused=("v6 is drifting", "v5 is not served"))),
    Gate.KILL_SWITCH: asked(
        kill_switch=SwitchReading(on=True, reason="set by ann: the engine moves today")
    ),
    Gate.FLEET_INCIDENT: asked(fleet_incident=IncidentId(4)),
    Gate.SELF_HEALTH: asked(unwell=("its reference is only 5 min old",)),
    Gate.COOL_DOWN: asked(taken_here=(NOON - 4 * MINUTE,)),
    Gate.ADAPTER_BUDGET: asked(taken_here=(NOON - 40 * MINUTE, NOON - 300 * MINUTE)),
    Gate.FLEET_BUDGET: asked(taken_fleet=tuple(NOON - n * MINUTE for n in (5, 20, 50))),
}
"""For each gate of a fallback, a question that it answers with no."""
WHY = {gate: decide_fallback(question).reason for gate, question in SHUT.items()} | {
    # only a return asks whether the version itself was admitted
    Gate.ADMISSION: not_admitted("support", "v7", "is not admitted yet")
}
"""Why each gate was shut."""


def in_state(state: ActionState, **changes: Any) -> ActionLine:
    return deed(replace(MOVED, state=state, **changes))


def stopped(gate: Gate) -> ActionLine:
    evidence = {**MOVED.evidence, "gate": gate.value}
    return in_state(ActionState.BLOCKED, reason=WHY[gate], evidence=evidence)


OUTCOMES: dict[str, ActionLine | None] = {
    "moved": in_state(ActionState.VERIFIED),
    "not confirmed": in_state(ActionState.VERIFY_FAILED),
    "pending": in_state(ActionState.EXECUTING),
    "blocked": stopped(Gate.FLEET_UNSEEN),
    "recommended": in_state(ActionState.RECOMMENDED),
    "none": None,
}
"""What can have become of a version's traffic."""
UNTOLD = {Gate.EVIDENCE, Gate.VERDICT, Gate.TRAFFIC, Gate.ADMISSION}
STOPPED = {gate: stopped(gate) for gate in WHY if gate not in UNTOLD}
"""A fallback that each gate has stopped, of which people are told."""
BACK = replace(
    MOVED, kind=ActionKind.RETURN, evidence={}, decided_at=MOVED.created_at + 38 * MINUTE
)
RETURNED = with_stand_in(deed(BACK), BACK, (BACK, MOVED))
BROKEN = switched_off({"logit_ks": QUARANTINE_AFTER}) or ""
IN_DOUBT = doubt_words(
    replace(
        MOVED,
        state=ActionState.VERIFY_FAILED,
        reason="the router sends 100 % to v7 (stable)",
    )
)
PLAN = CanarySettings().plan()
FORBIDDEN = Permission(raising="mode observe leaves it to a person")
WORSE = GuardFound(
    name="entropy",
    kind=GuardKind.RANK,
    outcome=GuardOutcome.FAILED,
    value=0.9,
    lo=0.75,
    hi=1.0,
    margin=0.35,
    bar=0.35,
).words


def looked(outcome: LookOutcome, reason: str, *, requests: int = 78, **of: Any) -> Looked:
    found = Found(outcome=outcome, trial_requests=requests, control_requests=900, reason=reason)
    return Looked(found=found, **of)


def canary(*events: Event, every: timedelta = timedelta(hours=30)) -> CanaryNews:
    """Describe a canary after its start and these events."""
    state, now = CanaryState(), NOON - every * len(events)
    begins: Sequence[Event] = (PrechecksLooked(passed=True, reason="ok"), ReadBack(problem=None))
    for event in begins:
        state, _ = step(state, event, plan=PLAN, now=now)
    for event in events:
        now += every
        state, _ = step(state, event, plan=PLAN, now=now)
    return canary_news(state, trial="v7", control="v6")


UNDECIDED = canary(*[looked(LookOutcome.UNSURE, "6 of 6 guardrails within their limits")] * 5)
BLIND = canary(
    *[Looked(found=None, trouble="the last record came at 12:00 UTC, 40 more were due")] * 5,
    every=5 * MINUTE,
)
KEPT = canary(
    looked(
        LookOutcome.FAILED,
        WORSE,
        permission=replace(FORBIDDEN, lowering="mode observe leaves it to a person"),
    )
)
ROLLED_BACK = canary(
    looked(LookOutcome.FAILED, WORSE, requests=21), ReadBack(problem=None), every=MINUTE
)
