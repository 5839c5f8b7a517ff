"""Move traffic away from a critical version, and back when it has recovered.

An action is stored before it is done (``executing``), and done in one transaction with its
last checks (``applied``). :mod:`monitor.traffic.readback` tells the router and reads it
back (``verified``). :meth:`Breaker.reconcile` ends an action whose process died before the
route changed. If the process died afterwards, the router is read before it is told again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import Connection

from alerts.message import ActionLine, Done
from monitor.domain import ActionId, Mode, Version, VersionId
from monitor.policy import ActionEvidence
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.store.traffic import actions, routes
from monitor.store.traffic.actions import AUTOMATIC, OPEN, WORSE, ActionKind, ActionRow, ActionState
from monitor.traffic.fallback.changes import FallbackChanges
from monitor.traffic.fallback.decision import (
    Decision,
    DecisionKind,
    decide_fallback,
    decide_return,
    not_in_fallback,
)
from monitor.traffic.fallback.execution import Execution
from monitor.traffic.fallback.gate_names import Gate, blocked_line
from monitor.traffic.fallback.ledger import note, target_id
from monitor.traffic.fallback.machine import BreakerState, state_of
from monitor.traffic.fallback.scene import MoveQuestion, Scene
from monitor.traffic.fallback.survey import only, route_in_force, survey, targets_of
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.readback import UnreadChange
from monitor.traffic.settings import RoutingSettings

_LOG = structlog.get_logger(__name__)


Served = Callable[[str], bool]
"""Makes a model ready, and says whether every engine that answers serves this name."""
BASE: Final = "base"
"""Name of the version that represents an adapter's bare base model."""


class ActionNotOpen(Exception):  # noqa: N818 (named as what it is)
    """The action waits for no approval; ``state`` is its present state."""

    def __init__(self, action: ActionRow) -> None:
        super().__init__(f"action {action.id} is {action.state.value}: {action.reason}")
        self.state = action.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Decides about traffic after each evaluation, and does what the mode allows.

    Parameters
    ----------
    mode
        For adapters without a mode of their own.
    changes
        Fallback changes applied here, of which the router must be told.
    confirm
        Asks the router about a change at once, where a person waits for it.
    served
        Called for every target before traffic goes there, outside transactions.
    clock
        This process's clock, compared with the database's; ``now`` is the time of an action.
    """

    database: Database
    settings: RoutingSettings
    mode: Mode
    kill_switch: KillSwitch
    changes: FallbackChanges
    confirm: Callable[[UnreadChange, datetime], None]
    served: Served
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def consider(self, version: Version, evidence: ActionEvidence, *, now: datetime) -> Decision:
        """Decide about a version that was just evaluated. Cheap while nothing is wrong.

        Raises the database's errors; then nothing was done.
        """
        if not evidence.allowed:
            return Decision(kind=DecisionKind.NOTHING, reason=evidence.reason)
        self._execution.prove(now=now)
        if self._on_trial(version, now=now):
            return self.consider_return(version, now=now)
        served = self._served_targets(version)
        if not served and self._with_base(version):
            served = self._served_targets(version)

        def work(tx: Connection) -> tuple[Decision, ActionRow | None]:
            scene = only(self._survey(tx, version, now=now), served)
            question = MoveQuestion(scene=scene, evidence=evidence, settings=self.settings, now=now)
            decision = decide_fallback(question)
            return decision, note(tx, scene, decision, evidence, now=now)

        return self._settle(*self.database.run(work), now=now)

    def consider_return(self, version: Version, *, now: datetime) -> Decision:
        """Decide the next step of a version that has lost its traffic.

        The step is a trial, a return, the end of a failed trial, or none yet. Cheap while
        the version has its traffic.
        """
        row = self.database.run(lambda tx: route_in_force(tx, version.adapter, now=now))
        reason = not_in_fallback(row, version)
        if reason is not None:
            return Decision(kind=DecisionKind.NOTHING, gate=Gate.TRAFFIC, reason=reason)
        first = self.database.run(
            lambda tx: decide_return(self._survey(tx, version, now=now), self.settings, now=now)
        )
        if first.kind is DecisionKind.NOTHING:
            return first
        if first.target is not None and not self.served(first.target.model):
            reason = f"{first.target.model} is not served"
            return Decision(kind=DecisionKind.NOTHING, gate=Gate.TARGET, reason=reason)

        def work(tx: Connection) -> tuple[Decision, ActionRow | None]:
            scene = self._survey(tx, version, now=now)
            decision = decide_return(scene, self.settings, now=now)
            return decision, note(tx, scene, decision, None, now=now)

        return self._settle(*self.database.run(work), now=now)

    def preview(
        self, tx: Connection, version: Version, evidence: ActionEvidence, *, now: datetime
    ) -> ActionLine | None:
        """Return the action that is about to be done or recommended, for a message; None: none.

        Call it in the evaluation's own transaction, after the verdict is stored. It holds
        no locks and asks no engine, so the action a moment later may differ.
        """
        scene = self._survey(tx, version, now=now, hold=False)
        decision = decide_fallback(
            MoveQuestion(scene=scene, evidence=evidence, settings=self.settings, now=now)
        )
        return _line(decision)

    def approve(self, action_id: ActionId, *, actor: str, now: datetime) -> ActionRow:
        """Do an action that waited for approval, after checking again.

        Returns the action as it ended: ``verified``, or ``expired`` or ``blocked`` with the
        reason why it is no longer right.

        Raises
        ------
        NotFound
            There is no such action.
        ActionNotOpen
            The action waits for no approval.
        """
        target = self.database.run(lambda tx: _target(tx, actions.fetch(tx, action_id)))
        served = target is not None and self.served(target.model)

        def work(tx: Connection) -> ActionRow:
            self.kill_switch.read(tx, hold=True)
            row = actions.fetch(tx, action_id, lock=True)
            if row.state not in OPEN:
                raise ActionNotOpen(row)
            if not served:
                return self._execution.drop(tx, row, "its target is not served", now=now)
            return self._execution.begin(tx, row, actor=actor, now=now)

        begun = self.database.run(work)
        if begun.state is not ActionState.EXECUTING:
            return begun
        applied = self._execution.apply(begun.id, now=now)
        if applied.state is ActionState.APPLIED:
            self.confirm(self.changes.of(applied, now=now), now)
        return self.database.run(lambda tx: actions.fetch(tx, applied.id))

    def reconcile(self, *, now: datetime) -> int:
        """End actions that a crash interrupted, that nobody approved in time, or that did not help.

        Returns how many actions changed. Call it at start and every minute.
        """
        return self._execution.reconcile(now=now)

    def doubt(self, tx: Connection, version: Version) -> str | None:
        """Say why it is unknown whether the router carried out the last move; None: it is known.

        The doubt lasts until the move is read back after all, or somebody sets another
        route.
        """
        return self.doubts(tx, [version]).get(version.id)

    def doubts(self, tx: Connection, of: Collection[Version]) -> dict[VersionId, str]:
        """Say the same of those of some versions whose last move is in doubt."""
        moved = actions.newest_taken_of(tx, {version.adapter_id for version in of})
        found = {}
        for version in of:
            last = moved.get(version.adapter_id)
            if last is None or last.version_id != version.id:
                continue
            if last.state is not ActionState.VERIFY_FAILED:
                continue
            route = routes.get(tx, version.adapter)
            if route is not None and route.generation == (last.expected_generation or 0) + 1:
                found[version.id] = doubt_words(last)
        return found

    @property
    def _execution(self) -> Execution:
        return Execution(
            database=self.database, settings=self.settings, kill_switch=self.kill_switch
        )

    def _served_targets(self, version: Version) -> frozenset[VersionId]:
        targets = self.database.run(lambda tx: targets_of(tx, version))
        return frozenset(target.id for target in targets.usable if self.served(target.model))

    def _with_base(self, version: Version) -> bool:
        """Register the bare base model as a version, the last resort, where engines serve it.

        The base is registered without a base of its own, so that no incident reports that
        it answers as its base does.
        """
        base = version.base_model
        if base is None or not self.served(base):
            return False

        def work(tx: Connection) -> bool:
            if versions.fetch(tx, adapter=version.adapter, name=BASE) is not None:
                return False
            made = versions.put(
                tx, adapter=adapters.fetch_by_id(tx, version.adapter_id), name=BASE, model=base
            )
            details = {"model": base, "reason": f"{version.label} has nothing else to fall back to"}
            audit.append(
                tx, actor=AUTOMATIC, act="version.put", subject=made.label, details=details
            )
            return True

        return self.database.run(work)

    def _on_trial(self, version: Version, *, now: datetime) -> bool:
        row = self.database.run(lambda tx: route_in_force(tx, version.adapter, now=now))
        if row is None or not_in_fallback(row, version) is not None:
            return False
        return state_of(row.route, None) is BreakerState.HALF_OPEN

    def _survey(
        self, tx: Connection, version: Version, *, now: datetime, hold: bool = True
    ) -> Scene:
        return survey(
            tx,
            version,
            kill_switch=self.kill_switch,
            settings=self.settings,
            default_mode=self.mode,
            clock=self.clock,
            now=now,
            hold=hold,
        )

    def _settle(self, decision: Decision, action: ActionRow | None, *, now: datetime) -> Decision:
        if action is not None:
            _LOG.info(
                "action_decided",
                adapter=action.adapter,
                version=action.version,
                action=action.id,
                kind=action.kind.value,
                decision=decision.kind.value,
                reason=decision.reason,
            )
        if action is not None and action.state is ActionState.EXECUTING:
            self._apply(action.id, now=now)
        return decision

    def _apply(self, action_id: ActionId, *, now: datetime) -> None:
        """Change the route and leave the router to another loop, because the router may hang."""
        if self._execution.apply(action_id, now=now).state is ActionState.APPLIED:
            self.changes.begin(action_id)


def _target(tx: Connection, action: ActionRow) -> Version | None:
    return None if action.target is None else versions.fetch_by_id(tx, target_id(action))


def _line(decision: Decision) -> ActionLine | None:
    kind = decision.action.value if decision.action else "fallback"
    if decision.kind is DecisionKind.BLOCK:
        target = decision.target.name if decision.target else ""
        return blocked_line(kind, decision.gate, reason=decision.reason, target=target)
    if decision.target is None or decision.kind is DecisionKind.NOTHING:
        return None
    what = f"100 % of traffic to {decision.target.name}"
    if decision.kind is DecisionKind.EXECUTE:
        short = f"moving traffic to {decision.target.name}"
        return ActionLine(
            done=Done.TAKEN,
            kind=kind,
            text=f"moving {what}",
            short=short,
            target=decision.target.name,
            then=decision.then,
        )
    return ActionLine(
        done=Done.RECOMMENDED, kind=kind, text=f"move {what}", target=decision.target.name
    )


def doubt_words(moved: ActionRow) -> str:
    """Say which move the router has not confirmed, or which did not help, and why."""
    move = _MOVES[moved.kind].format(moved.version)
    if moved.kind is ActionKind.FALLBACK and moved.target is not None:
        move += f" to {moved.target['version']}"
    if WORSE in moved.evidence:
        return f"{move} did not help: {moved.reason}"
    return f"{move} is not confirmed: {moved.reason}; Driftline goes on telling the router"


_MOVES: Final = {
    ActionKind.FALLBACK: "the move of the traffic of {}",
    ActionKind.TRIAL: "the trial share of {}",
    ActionKind.END_TRIAL: "the end of the trial of {}",
    ActionKind.RETURN: "the return of the traffic to {}",
}
