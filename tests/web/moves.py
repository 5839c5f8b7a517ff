"""Traffic that was moved, would have been, and waits for somebody."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import Blame, VerdictKind
from monitor.domain import ActionId, ArmKind, Interval, Version
from monitor.store import audit
from monitor.store.registry import adapters, versions
from monitor.store.traffic import actions, canaries, route_failures
from monitor.store.traffic.actions import ActionKind, ActionState, author_of
from monitor.traffic.arms import ArmRequest
from monitor.traffic.fallback.gates import adapter_spent
from monitor.traffic.settings import RoutingSettings
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import CanaryState, Phase, to_json
from tests import worlds
from tests.found import found

WAITS = "acme/refunds"
"""Critical, in the mode ``approve``: its fallback waits for a person."""
OBSERVED = "acme/offers"
"""Critical, in the mode ``observe``: its fallback is recommended."""
MODES = {ActionState.RECOMMENDED: "observe", ActionState.AWAITING_APPROVAL: "approve"}
FOUND = found("logit_ks", "mean_nll:up", evidence=2.1, n=380, effect=(0.38, 0.29))
HOSTILE = "<img src=x onerror=alert(1)>"


def seed(tx: Connection, *, now: datetime) -> ActionId:
    """Fill a database with a fleet that was moved about; give the action that waits."""
    worlds.seed(tx, now=now, days=0.5)
    away = now - timedelta(hours=2, minutes=26)
    moved = _tell(
        tx, "support", "v7", ActionState.VERIFIED, "confirmed by the router", target="v6", now=away
    )
    before = versions.fetch(tx, adapter="support", name="v6")
    assert before is not None
    worlds.add_reference(tx, before, now=now - timedelta(days=19))
    worlds.put_scores(tx, before, now=now, start=away)
    tx.execute(
        sa.text("UPDATE route_history SET actor = :by WHERE actor = 'driftline'"),
        {"by": author_of(moved)},
    )
    taken = (now, now - timedelta(hours=4))
    blocked = adapter_spent(taken, RoutingSettings(), now=now) or ""
    _tell(
        tx, "travel-assistant", "v3", ActionState.BLOCKED, blocked, gate="adapter_budget", now=now
    )
    _routed(tx, now=now)
    hostile = worlds.registered(tx, HOSTILE, HOSTILE, owner="x", now=now)
    _tell(tx, hostile.adapter, hostile.name, ActionState.EXPIRED, HOSTILE, gate=HOSTILE, now=now)
    billing = adapters.fetch(tx, "billing")
    assert billing is not None
    versions.put(tx, adapter=billing, name="v2", model="billing@v2")
    _critical(tx, OBSERVED, ActionState.RECOMMENDED, now=now)
    return _critical(tx, WAITS, ActionState.AWAITING_APPROVAL, now=now)


def _routed(tx: Connection, *, now: datetime) -> None:
    found = versions.fetch(tx, adapter="catalogue", name="v1")
    assert found is not None
    worlds.registered(tx, "catalogue", "v2", owner="growth", now=now - timedelta(days=1))
    worlds.table.put(
        tx,
        "catalogue",
        arms=[
            ArmRequest(arm=ArmKind.STABLE, version="v1", weight=0.9),
            ArmRequest(arm=ArmKind.CANARY, version="v2", weight=0.1),
            ArmRequest(arm=ArmKind.SHADOW, version="v2", weight=0.0),
        ],
        expected_generation=1,
        reason="canary of v2, step 1 of 3",
        actor="ann",
        now=now - timedelta(hours=15),
        valid_until=now + timedelta(minutes=30),
    )
    held = worlds.table.put(
        tx,
        "sales/eu",
        arms=[ArmRequest(arm=ArmKind.STABLE, version="v1", weight=1.0)],
        expected_generation=1,
        reason="nobody touches it during the sale",
        actor="ann",
        now=now - timedelta(hours=2),
        hold_until=now + timedelta(hours=8),
    )
    route_failures.note(tx, held, why=f"redis refused it: {HOSTILE}")


def on_trial(tx: Connection, *, now: datetime) -> None:
    """The first step of the canary that ``catalogue`` has in its route, as the audit has it."""
    control, trial = (versions.fetch(tx, adapter="catalogue", name=name) for name in ("v1", "v2"))
    assert control is not None
    assert trial is not None
    running = CanaryState(phase=Phase.RUNNING, weight=0.1, placed=True, reason=HOSTILE)
    canary = canaries.add(
        tx,
        trial,
        control=control,
        plan=to_json(CanarySettings().plan()),
        state=to_json(running),
        guards=[],
        unchecked=[],
        mode=None,
        by="ann",
        now=now,
    )
    details = {"canary": canary.id, "state": to_json(running), "guards": []}
    audit.append(tx, actor="driftline", act="canary.running", subject=trial.label, details=details)


def _critical(tx: Connection, adapter: str, state: ActionState, *, now: datetime) -> ActionId:
    """Let ``v2`` have paged; its fallback to ``v1`` is left to a person."""
    paged, onset = now - timedelta(minutes=5), now - timedelta(minutes=45)
    worlds.registered(tx, adapter, "v1", owner="care-team", now=now - timedelta(days=30))
    version = worlds.registered(tx, adapter, "v2", owner="care-team", now=now - timedelta(days=9))
    worlds.promoted(tx, version, at=now - timedelta(days=9))
    worlds.add_reference(tx, version, now=now - timedelta(days=2))
    worlds.put_scores(
        tx, version, now=now, start=now - timedelta(hours=3), onset=onset, strength=0.45,
        only="logit_ks",
    )  # fmt: skip
    verdict = worlds.a_verdict(
        VerdictKind.CRITICAL, paged, reason=FOUND, blame=Blame.ADAPTER, detectors=("logit_ks",),
        onset=Interval(start=onset, end=onset + timedelta(minutes=10)),
    )  # fmt: skip
    worlds.put_verdict(tx, version, verdict, drift=88.0)
    worlds.put_change(tx, version, before=VerdictKind.STABLE, after=verdict, at=paged)
    worlds.put_count(tx, version, now=now, count=164)
    incident = worlds.put_incident(tx, version, verdict)
    worlds.put_message(tx, incident, "oncall-pagerduty", at=paged)
    reason = f"{FOUND}; to {adapter}@v1"
    return _tell(tx, adapter, "v2", state, reason, target="v1", now=paged)


def _tell(
    tx: Connection,
    adapter: str,
    name: str,
    state: ActionState,
    reason: str,
    *,
    now: datetime,
    gate: str | None = None,
    target: str | None = None,
) -> ActionId:
    version = versions.fetch(tx, adapter=adapter, name=name)
    assert version is not None
    to = versions.fetch(tx, adapter=adapter, name=target) if target else None
    return actions.add(
        tx,
        version,
        kind=ActionKind.FALLBACK,
        state=state,
        reason=reason,
        evidence={
            "at": now.isoformat(),
            "gate": gate,
            "mode": MODES.get(state, "auto"),
            "reason": FOUND,
            "n": 380,
        },
        expected_generation=1,
        target=_target(to) if to else None,
        actor="driftline",
        now=now,
    ).id


def _target(version: Version) -> dict[str, object]:
    return {"version_id": version.id, "version": version.name, "model": version.model}
