"""Carry an action out up to the changed route, and end actions that no longer apply."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from alerts.types import VerdictKind
from alerts.words import duration
from monitor.domain import ActionId, Arm, ArmKind, Route, Verdict, Version
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.registry import versions
from monitor.store.traffic import actions, routes
from monitor.store.traffic.actions import WORSE, ActionKind, ActionRow, ActionState, author_of
from monitor.traffic.arms import (
    effective,
    fallback_arm,
    fallback_arms,
    following,
    returned_arms,
    serving_arm,
    stable_arm,
    trial_arms,
)
from monitor.traffic.fallback.gates import aged
from monitor.traffic.fallback.ledger import advance, target_id, write_down
from monitor.traffic.fallback.machine import fires, recovered
from monitor.traffic.fallback.survey import stored_verdict, targets_of
from monitor.traffic.gates import killed
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.settings import RoutingSettings
from monitor.traffic.table import unadmitted, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The steps from ``executing`` to ``applied``, or to an end without a changed route."""

    database: Database
    settings: RoutingSettings
    kill_switch: KillSwitch

    def begin(self, tx: Connection, action: ActionRow, *, actor: str, now: datetime) -> ActionRow:
        """Start an action that a person has approved, if the route is still the same."""
        why_not = self._stop(tx, action, now=now)
        if why_not is not None:
            return self.drop(tx, action, why_not, now=now)
        begun = actions.change(
            tx, action.id, state=ActionState.EXECUTING, actor=actor, decided_at=now
        )
        write_down(tx, begun, actor=actor)
        return begun

    def drop(self, tx: Connection, action: ActionRow, reason: str, *, now: datetime) -> ActionRow:
        """End an action without doing it, because its reasons no longer hold."""
        return advance(tx, action, ActionState.EXPIRED, reason, now=now)

    def apply(self, action_id: ActionId, *, now: datetime) -> ActionRow:
        """Check everything once more and swap the route, in one transaction."""
        return self.database.run(lambda tx: self._apply(tx, action_id, now=now))

    def reconcile(self, *, now: datetime) -> int:
        """End actions that a crash interrupted, that nobody approved in time, or that did not help.

        Route and state change in one transaction, so an interrupted action that is still
        ``executing`` has not been done.
        """
        before = now - self.settings.execution_timeout
        left = self.database.run(lambda tx: actions.interrupted(tx, before=before))
        for action in left:
            self.database.run(lambda tx, one=action.id: self._interrupted(tx, one, now=now))  # type: ignore[misc]  # a default argument
        expired = self.database.run(lambda tx: self._expire(tx, now=now))
        return len(left) + expired + self.prove(now=now)

    def prove(self, *, now: datetime) -> int:
        """Fail a fallback whose target fires within two windows.

        The window under way at the move does not count. After a failed fallback Driftline
        does nothing more by itself until somebody sets another route.
        """
        proof = 3 * self.settings.cycle

        def work(tx: Connection) -> int:
            worse = 0
            for action in actions.moved_since(tx, since=now - proof):
                reason = _worse(tx, action)
                if reason is not None:
                    found = {**action.evidence, WORSE: True}
                    failed = ActionState.VERIFY_FAILED
                    advance(tx, action, failed, reason, now=now, evidence=found)
                    worse += 1
            return worse

        return self.database.run(work)

    def _apply(self, tx: Connection, action_id: ActionId, *, now: datetime) -> ActionRow:
        switch = self.kill_switch.read(tx, hold=True)
        action = actions.fetch(tx, action_id, lock=True)
        if action.state is not ActionState.EXECUTING:
            return action
        if switch.on:
            return advance(tx, action, ActionState.BLOCKED, str(killed(switch)), now=now)
        why_not = self._stop(tx, action, now=now)
        if why_not is not None:
            return self.drop(tx, action, why_not, now=now)
        route = self._next_route(tx, action, now=now)
        # The actor names the action, so that a return can tell our moves from a person's.
        write(tx, action.adapter_id, route=route, actor=author_of(action.id))
        reason = "the route is changed; the router is told"
        return advance(tx, action, ActionState.APPLIED, reason, now=now)

    def _stop(self, tx: Connection, action: ActionRow, *, now: datetime) -> str | None:
        """Say why the action is no longer right; its rows stay locked until ``tx`` ends."""
        current = routes.row(tx, action.adapter, lock=True)
        generation = current.route.generation if current else 0
        if current is None or generation != action.expected_generation:
            return "the route has been changed since this was decided"
        judged = verdicts.current(tx, version_id=action.version_id, lock=True)
        if judged is None or not _still_asks(action, judged.verdict):
            kind = judged.verdict.kind.value if judged else "missing"
            return f"the verdict of {action.version} is {kind} now"
        age, limit = now - judged.updated_at, self.settings.evidence_age
        if age > limit:
            return f"{action.version} was judged {duration(age)} ago (at most {duration(limit)})"
        match action.kind:
            case ActionKind.FALLBACK:
                return self._stale_fallback(tx, action, current.route, now=now)
            case ActionKind.TRIAL | ActionKind.RETURN:
                return _unlike(action, current.route) or self._barred(tx, action, current.route)
            case ActionKind.END_TRIAL:
                return _unlike(action, current.route) or self._unfit(tx, action)

    def _stale_fallback(
        self, tx: Connection, action: ActionRow, route: Route, *, now: datetime
    ) -> str | None:
        age, limit = now - datetime.fromisoformat(action.evidence["at"]), self.settings.evidence_age
        if age > limit:
            return aged(age, limit)
        if serving_arm(effective(route, now), action.version) is None:
            return f"{action.version} answers nobody now"
        return self._unfit(tx, action)

    def _unfit(self, tx: Connection, action: ActionRow) -> str | None:
        usable = targets_of(tx, versions.fetch_by_id(tx, action.version_id)).usable
        if target_id(action) not in {version.id for version in usable}:
            return "its target is no longer fit to take the traffic"
        return None

    def _barred(self, tx: Connection, action: ActionRow, route: Route) -> str | None:
        if serving_arm(route, action.version) is not None:
            return None
        return unadmitted(tx, versions.fetch_by_id(tx, action.version_id))

    def _next_route(self, tx: Connection, action: ActionRow, *, now: datetime) -> Route:
        route = routes.get(tx, action.adapter)
        assert route is not None, "its lock is held"  # noqa: S101 (invariant)
        trial = action.kind is ActionKind.TRIAL
        return following(
            route,
            self._arms(route, action, versions.fetch_by_id(tx, target_id(action))),
            reason=f"{action.kind.value}: {action.reason}",
            now=now,
            # if Driftline is down, readers end the trial by themselves
            valid_until=now + self.settings.trial_limit if trial else None,
            on_expiry=ArmKind.FALLBACK if trial else ArmKind.STABLE,
        )

    def _arms(self, route: Route, action: ActionRow, target: Version) -> tuple[Arm, ...]:
        match action.kind:
            case ActionKind.FALLBACK | ActionKind.END_TRIAL:
                return fallback_arms(route, target)
            case ActionKind.TRIAL:
                return trial_arms(route, self.settings.trial_share)
            case ActionKind.RETURN:
                return returned_arms(route)

    def _interrupted(self, tx: Connection, action_id: ActionId, *, now: datetime) -> None:
        self.kill_switch.read(tx, hold=True)
        action = actions.fetch(tx, action_id, lock=True)
        if action.state is ActionState.EXECUTING:
            reason = "interrupted before the route changed; the next evaluation decides anew"
            self.drop(tx, action, reason, now=now)

    def _expire(self, tx: Connection, *, now: datetime) -> int:
        self.kill_switch.read(tx, hold=True)
        dropped = 0
        for action in actions.waiting(tx):
            why_not = self._stop(tx, action, now=now)
            if why_not is not None:
                self.drop(tx, action, why_not, now=now)
                dropped += 1
        return dropped


def _still_asks(action: ActionRow, verdict: Verdict) -> bool:
    """Whether the verdict in force still asks for the action."""
    match action.kind:
        case ActionKind.FALLBACK:
            return verdict.kind is VerdictKind.CRITICAL
        case ActionKind.TRIAL | ActionKind.RETURN:
            return recovered(verdict)
        case ActionKind.END_TRIAL:
            return fires(verdict)


def _worse(tx: Connection, action: ActionRow) -> str | None:
    """Return since when the version that got the traffic fires, or None."""
    verdict = stored_verdict(tx, target_id(action), lock=False)
    began = action.decided_at or action.created_at
    if verdict is None or not fires(verdict) or verdict.since < began:
        return None
    target = action.target["version"] if action.target else "the target"
    after = duration(verdict.since - began)
    return f"{target} is {verdict.kind.value} {after} after it got the traffic"


def _unlike(action: ActionRow, route: Route) -> str | None:
    if stable_arm(route).version != action.version:
        return f"{action.version} is not the stable arm now"
    return None if fallback_arm(route) else "the route has no fallback arm now"
