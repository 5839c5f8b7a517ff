"""Store decisions: one row for each, not one for each evaluation that repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from alerts.message import finite
from monitor.domain import VersionId
from monitor.policy import ActionEvidence
from monitor.store import audit
from monitor.store.traffic import actions
from monitor.store.traffic.actions import AUTOMATIC, OPEN, ActionKind, ActionRow, ActionState
from monitor.traffic.fallback.decision import Decision, DecisionKind
from monitor.traffic.fallback.scene import Scene


def note(
    tx: Connection,
    scene: Scene,
    decision: Decision,
    evidence: ActionEvidence | None,
    *,
    now: datetime,
) -> ActionRow | None:
    """Store a decision, unless it repeats the last one.

    An action that waits for approval gets the newest evidence. Returns the row that was
    added, or None.
    """
    state = _STATES.get(decision.kind)
    if state is None or decision.action is None or scene.route is None:
        return None
    target = decision.target
    said: dict[str, Any] = {
        "reason": decision.reason,
        "evidence": _evidence_json(evidence, scene, decision),
        "expected_generation": scene.route.route.generation,
        "target": target
        and {"version_id": target.id, "version": target.name, "model": target.model},
    }
    if scene.last is not None and _says_the_same(scene.last, decision.action, state, said):
        if state in OPEN:
            actions.change(tx, scene.last.id, **said)
        return None
    row = actions.add(
        tx, scene.version, kind=decision.action, state=state, actor=AUTOMATIC, now=now, **said
    )
    write_down(tx, row)
    return row


def _evidence_json(
    evidence: ActionEvidence | None, scene: Scene, decision: Decision
) -> dict[str, Any]:
    """Return the evidence behind the decision, to be stored.

    ``episode`` is when the verdict in force began: decisions of one episode belong
    together.
    """
    verdict = scene.verdict
    body: dict[str, Any] = {
        "episode": verdict.since.isoformat() if verdict else None,
        "verdict": verdict.kind.value if verdict else None,
        "verdict_reason": verdict.reason if verdict else None,
        "gate": decision.gate.value if decision.gate else None,
        "mode": scene.mode.value,
        "refused_targets": list(scene.targets.refused),
        "then": decision.then,
    }
    if evidence is not None:
        body |= {
            "at": evidence.at.isoformat(),
            "measured_from": (evidence.measured_from or evidence.at).isoformat(),
            "reason": evidence.reason,
            "detectors": list(evidence.detectors),
            "effect_low": finite(evidence.effect_low),
            "n": evidence.n,
        }
    return body


def write_down(tx: Connection, action: ActionRow, *, actor: str = AUTOMATIC) -> None:
    """Append the action's present state to the audit; no action changes without this entry."""
    audit.append(
        tx,
        actor=actor,
        act=f"action.{action.state.value}",
        subject=f"{action.adapter}@{action.version}",
        details={
            "action": action.id,
            "kind": action.kind.value,
            "reason": action.reason,
            "evidence": dict(action.evidence),
            "expected_generation": action.expected_generation,
            "target": action.target and dict(action.target),
        },
    )


def advance(
    tx: Connection,
    action: ActionRow,
    state: ActionState,
    reason: str,
    *,
    now: datetime,
    evidence: Mapping[str, Any] | None = None,
) -> ActionRow:
    """Change an action's state, and append that to the audit."""
    body = dict(action.evidence if evidence is None else evidence)
    moved = actions.change(tx, action.id, state=state, reason=reason, evidence=body, decided_at=now)
    write_down(tx, moved)
    return moved


def target_id(action: ActionRow) -> VersionId:
    """Return the id of the version that gets the traffic; every action in execution has one."""
    assert action.target is not None, "an action in execution has a target"  # noqa: S101 - an invariant
    return VersionId(action.target["version_id"])


_STATES: Final = {
    DecisionKind.RECOMMEND: ActionState.RECOMMENDED,
    DecisionKind.ASK: ActionState.AWAITING_APPROVAL,
    DecisionKind.EXECUTE: ActionState.EXECUTING,
    DecisionKind.BLOCK: ActionState.BLOCKED,
}


def _says_the_same(
    last: ActionRow, kind: ActionKind, state: ActionState, said: Mapping[str, Any]
) -> bool:
    return (
        last.kind is kind
        and last.state is state
        and last.state is not ActionState.EXECUTING
        and last.evidence.get("episode") == said["evidence"]["episode"]
        and last.evidence.get("gate") == said["evidence"]["gate"]
    )
