"""Carry an action out, and find out what became of one that a crash has interrupted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection

from monitor.domain import ActionId, Arm, ArmKind, Route, Verdict, VerdictKind, Version, VersionId
from monitor.routing.arms import (
    effective,
    fallback_arm,
    fallback_arms,
    returned_arms,
    serving_arm,
    stable_arm,
    trial_arms,
)
from monitor.routing.breaker import fires, recovered
from monitor.routing.killswitch import KillSwitch
from monitor.routing.ledger import write_down
from monitor.routing.routers import Router, RouterFailed
from monitor.routing.settings import RoutingSettings
from monitor.routing.survey import stored_verdict, targets_of
from monitor.routing.table import write
from monitor.store import actions, routes, versions
from monitor.store.actions import AUTOMATIC, ActionKind, ActionRow, ActionState
from monitor.store.database import Database

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The steps from ``executing`` to ``verified``."""

    database: Database
    settings: RoutingSettings
    kill_switch: KillSwitch
    router: Router

    def begin(self, tx: Connection, action: ActionRow, *, actor: str, now: datetime) -> ActionRow:
        """Start what a person has approved, if the route is still the one it was decided on."""
        why_not = self._stop(tx, action, now=now)
        if why_not is not None:
            return self.drop(tx, action, why_not, now=now)
        begun = actions.begin(
            tx,
            action.id,
            expected_generation=action.expected_generation or 0,
            actor=actor,
            now=now,
        )
        write_down(tx, begun, actor=actor)
        return begun

    def drop(self, tx: Connection, action: ActionRow, reason: str, *, now: datetime) -> ActionRow:
        """End an action without doing it: what it was decided on no longer holds."""
        return self._advance(tx, action, ActionState.EXPIRED, reason, now=now)

    def carry_out(self, action_id: ActionId, *, now: datetime) -> ActionRow:
        """Change the route, tell the router, read back."""
        action = self.database.run(lambda tx: self._apply(tx, action_id, now=now))
        if action.state is not ActionState.APPLIED:
            return action
        return self._verify(action, now=now)

    def reconcile(self, *, now: datetime) -> int:
        """Read back every interrupted action; expire those waiting on a verdict that is gone.

        What was read back as something else is read again while its route is in force.
        """
        before = now - self.settings.execution_timeout
        left = self.database.run(lambda tx: actions.unfinished(tx, before=before))
        for action in left:
            self._resume(action, now=now)
        changed = len(left) + self.database.run(lambda tx: self._expire(tx, now=now))
        return changed + self._reread(now=now) + self.prove(now=now)

    def prove(self, *, now: datetime) -> int:
        """Say of a fallback whose target fires within two windows that it did not help.

        The window under way when it moved is not one of them. Such an action has failed, and
        nothing else is done by itself until somebody sets another route.
        """
        proof = 3 * self.settings.cycle

        def work(tx: Connection) -> int:
            worse = 0
            for action in actions.moved_since(tx, since=now - proof):
                reason = _worse(tx, action)
                if reason is not None:
                    write_down(tx, actions.found_worse(tx, action, reason=reason, now=now))
                    worse += 1
            return worse

        return self.database.run(work)

    def _reread(self, *, now: datetime) -> int:
        """Settle what the router did not confirm, once it does."""
        settled = 0
        for action in self.database.run(actions.unverified):
            settled += self._settled(action, now=now)
        return settled

    def _settled(self, action: ActionRow, *, now: datetime) -> bool:
        route = self.database.run(lambda tx: routes.get(tx, action.adapter))
        if route is None or self._read(route)[0] is not ActionState.VERIFIED:
            return False
        reason = f"read back late at generation {route.generation}"
        self.database.run(
            lambda tx: self._advance(tx, action, ActionState.VERIFIED, reason, now=now)
        )
        return True

    def _apply(self, tx: Connection, action_id: ActionId, *, now: datetime) -> ActionRow:
        """Check everything once more and swap the route, all in one transaction."""
        switch = self.kill_switch.read(tx, hold=True)
        action = actions.fetch(tx, action_id, lock=True)
        if action.state is not ActionState.EXECUTING:
            return action
        if switch.on:
            reason = f"kill switch: {switch.reason}"
            return self._advance(tx, action, ActionState.BLOCKED, reason, now=now)
        why_not = self._stop(tx, action, now=now)
        if why_not is not None:
            return self.drop(tx, action, why_not, now=now)
        route = self._next_route(tx, action, now=now)
        # The action's name as actor tells a return what was moved by us and not by a person.
        write(tx, action.adapter_id, route=route, actor=f"{AUTOMATIC}:action-{action.id}")
        reason = f"route of {action.adapter} is at generation {route.generation}"
        return self._advance(tx, action, ActionState.APPLIED, reason, now=now)

    def _stop(self, tx: Connection, action: ActionRow, *, now: datetime) -> str | None:
        """Say why the action is no longer right; what it needs is held until ``tx`` ends."""
        current = routes.row(tx, action.adapter, lock=True)
        generation = current.route.generation if current else 0
        if current is None or generation != action.expected_generation:
            return (
                f"the route is at generation {generation},"
                f" it was decided on {action.expected_generation}"
            )
        verdict = stored_verdict(tx, action.version_id, lock=True)
        if not _still_asks(action, verdict):
            kind = verdict.kind.value if verdict else "missing"
            return f"the verdict of {action.version} is {kind} now"
        match action.kind:
            case ActionKind.FALLBACK:
                return self._stale_fallback(tx, action, current.route, now=now)
            case ActionKind.TRIAL | ActionKind.RETURN:
                return _unlike(action, current.route)
            case ActionKind.END_TRIAL:
                return _unlike(action, current.route) or self._unfit(tx, action)

    def _stale_fallback(
        self, tx: Connection, action: ActionRow, route: Route, *, now: datetime
    ) -> str | None:
        age = now - datetime.fromisoformat(action.evidence["at"])
        if age > self.settings.evidence_age:
            return f"the evidence is {age} old > {self.settings.evidence_age}"
        if serving_arm(effective(route, now), action.version) is None:
            return f"{action.version} answers nobody now"
        return self._unfit(tx, action)

    def _unfit(self, tx: Connection, action: ActionRow) -> str | None:
        usable = targets_of(tx, versions.fetch_by_id(tx, action.version_id)).usable
        if _target_id(action) not in {version.id for version in usable}:
            return "its target is no longer fit to take the traffic"
        return None

    def _next_route(self, tx: Connection, action: ActionRow, *, now: datetime) -> Route:
        route = routes.get(tx, action.adapter)
        assert route is not None, "its lock is held"  # noqa: S101 (invariant)
        trial = action.kind is ActionKind.TRIAL
        return replace(
            route,
            generation=route.generation + 1,
            arms=self._arms(route, action, versions.fetch_by_id(tx, _target_id(action))),
            reason=f"{action.kind.value}: {action.reason}",
            since=now,
            # with Driftline down, readers end the trial by themselves
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

    def _verify(self, action: ActionRow, *, now: datetime, again: bool = False) -> ActionRow:
        """Compare what the router does with what the table says, and write the result down.

        ``again`` reads back first: the router may have been told before a crash. Where it
        does something else it is told once more; it wants an end state, so that cannot do
        anything twice.
        """
        route = self.database.run(lambda tx: routes.get(tx, action.adapter))
        if route is None or route.generation != (action.expected_generation or 0) + 1:
            state, reason = ActionState.VERIFIED, "replaced by a later route"
        else:
            state, reason = self._read(route) if again else self._told(route)
            if again and state is not ActionState.VERIFIED:
                state, reason = self._told(route)
            if again and state is ActionState.APPLIED:
                late = self.settings.execution_timeout
                state, reason = ActionState.VERIFY_FAILED, f"not within {late}: {reason}"
        return self.database.run(lambda tx: self._advance(tx, action, state, reason, now=now))

    def _told(self, route: Route) -> tuple[ActionState, str]:
        try:
            self.router.apply(route)
        except RouterFailed as error:
            # It may have taken effect all the same: only reading back can tell.
            _LOG.warning("router_failed", adapter=route.adapter, error=str(error))
        return self._read(route)

    def _read(self, route: Route) -> tuple[ActionState, str]:
        try:
            real = self.router.read_back(route.adapter)
        except RouterFailed as error:
            return ActionState.APPLIED, f"not read back yet: {error}"
        if real == route.arms:
            return ActionState.VERIFIED, f"read back at generation {route.generation}"
        return ActionState.VERIFY_FAILED, f"the router says {_words(real)}, not the route"

    def _resume(self, action: ActionRow, *, now: datetime) -> None:
        """Route and state change in one transaction, so ``executing`` means: not done."""
        if action.state is ActionState.APPLIED:
            self._verify(action, now=now, again=True)
            return
        self.database.run(lambda tx: self._interrupted(tx, action.id, now=now))

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

    def _advance(
        self,
        tx: Connection,
        action: ActionRow,
        state: ActionState,
        reason: str,
        *,
        now: datetime,
    ) -> ActionRow:
        moved = actions.advance(tx, action.id, state=state, reason=reason, now=now)
        write_down(tx, moved)
        return moved


def _still_asks(action: ActionRow, verdict: Verdict | None) -> bool:
    """Whether the verdict in force still asks for the action."""
    if verdict is None:
        return False
    match action.kind:
        case ActionKind.FALLBACK:
            return verdict.kind is VerdictKind.CRITICAL
        case ActionKind.TRIAL | ActionKind.RETURN:
            return recovered(verdict)
        case ActionKind.END_TRIAL:
            return fires(verdict)


def _worse(tx: Connection, action: ActionRow) -> str | None:
    """Say since when the version that got the traffic fires, or None."""
    verdict = stored_verdict(tx, _target_id(action), lock=False)
    began = action.decided_at or action.created_at
    if verdict is None or not fires(verdict) or verdict.since < began:
        return None
    target = action.target["version"] if action.target else "the target"
    return f"{target} is {verdict.kind.value} {verdict.since - began} after it got the traffic"


def _unlike(action: ActionRow, route: Route) -> str | None:
    if stable_arm(route).version != action.version:
        return f"{action.version} is not the stable arm now"
    return None if fallback_arm(route) else "the route has no fallback arm now"


def _target_id(action: ActionRow) -> VersionId:
    assert action.target is not None, "an action in execution has a target"  # noqa: S101 - an invariant
    return VersionId(action.target["version_id"])


def _words(arms: tuple[Arm, ...] | None) -> str:
    if arms is None:
        return "nothing"
    return ", ".join(f"{arm.arm.value} {arm.version} {arm.weight:g}" for arm in arms)
