"""Orders of people: begin a canary, and pause, resume, promote or abort it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from detectors.feedback import Directions
from monitor.domain import Mode, Version
from monitor.store import audit
from monitor.store.registry import adapters, versions
from monitor.store.traffic import canaries, routes
from monitor.store.traffic.canaries import CanaryId, CanaryRow
from monitor.traffic.arms import stable_arm
from monitor.traffic.table import unadmitted
from monitor.traffic.trial.comparing import guards_to_json
from monitor.traffic.trial.guards import Guard, guards_of
from monitor.traffic.trial.hands import Hands
from monitor.traffic.trial.prechecks import Precheck
from monitor.traffic.trial.route import unfit
from monitor.traffic.trial.scene import forbidden, hold_scene
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    CanaryStep,
    NotPossible,
    Ordered,
    OrderKind,
    Plan,
    plan_from_json,
    to_json,
)

FeedbackOf = Callable[[str], Directions]
"""Returns an adapter's named feedback, with the direction in which each is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A person's request for a canary.

    steps
        Empty: those of the config.
    shadow
        The version answers copies only, until it is promoted.
    mode
        What Driftline may do by itself; None: as the adapter's.
    unchecked
        Prechecks that are left out.
    """

    version: Version
    steps: tuple[CanaryStep, ...] = ()
    shadow: bool = False
    mode: Mode | None = None
    unchecked: Sequence[Precheck] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Applies people's orders.

    ``feedback`` returns an adapter's named numbers, which become guardrails.
    """

    hands: Hands
    feedback: FeedbackOf

    @property
    def settings(self) -> CanarySettings:
        """The settings of canaries where a person gives no others."""
        return self.hands.settings

    def start(self, wish: Wish, *, by: str, now: datetime) -> CanaryRow:
        """Create a canary; it supersedes one of the same adapter that is under way.

        Raises
        ------
        NotPossible
            The version was rolled back, or the route has no place for it.
        ValueError
            The steps are invalid.
        """
        plan = self.settings.plan(steps=wish.steps, shadow=wish.shadow)
        version = wish.version

        def work(tx: Connection) -> CanaryRow:
            self.hands.kill_switch.read(tx, hold=True)
            row = routes.row(tx, version.adapter, lock=True)
            adapters.hold(tx, version.adapter_id)
            _refuse_latched(tx, version)
            _refuse_unadmitted(tx, version)
            self._supersede(tx, version, plan, by=by, now=now)
            route = routes.get(tx, version.adapter) if row else None
            why_not = unfit(route, version.name)
            if why_not is not None or route is None:
                raise NotPossible(why_not or "the adapter has no route")
            control = versions.fetch(tx, adapter=version.adapter, name=stable_arm(route).version)
            assert control is not None, "routes name registered versions"  # noqa: S101 (invariant)
            return self._made(tx, wish, control, plan_body=to_json(plan), by=by, now=now)

        return self.hands.database.run(work)

    def order(
        self,
        canary_id: CanaryId,
        kind: OrderKind,
        *,
        by: str,
        now: datetime,
        why: str = "",
        force: bool = False,
    ) -> CanaryRow:
        """Apply an order; its effect on the route is read back soon after.

        Raises
        ------
        NotFound
            There is no such canary.
        NotPossible
            The order makes no sense in the canary's state, or the kill switch or a hold forbids it:
            these forbid all orders except pausing and aborting.
        """
        event = Ordered(order=kind, by=by, why=why, force=force)

        def work(tx: Connection) -> CanaryRow:
            canary = canaries.fetch(tx, canary_id)
            scene = hold_scene(tx, canary, self.hands.kill_switch, claimed=False, now=now)
            assert scene is not None, "not claimed, so always held"  # noqa: S101 (invariant)
            stop = forbidden(scene, now=now)
            if stop is not None and kind in _RAISING:
                raise NotPossible(stop)
            if kind in _RAISING:
                _refuse_unadmitted(tx, scene.version)
            self._refuse_others(tx, scene.canary, kind)
            self.hands.apply(tx, scene, event, actor=by, now=now)
            return canaries.fetch(tx, canary_id)

        return self.hands.database.run(work)

    def guards(self, adapter: str) -> tuple[Guard, ...]:
        """List the guardrails that a canary of this adapter would have."""
        signals, critical = self.settings.signals, self.settings.critical
        return guards_of(signals, self.feedback(adapter), critical)

    def _made(
        self,
        tx: Connection,
        wish: Wish,
        control: Version,
        *,
        plan_body: dict[str, object],
        by: str,
        now: datetime,
    ) -> CanaryRow:
        version = wish.version
        guards = self.guards(version.adapter)
        state = replace(CanaryState(), since=now)
        made = canaries.add(
            tx,
            version,
            control=control,
            plan=plan_body,
            state=to_json(state),
            guards=guards_to_json(guards),
            unchecked=[check.value for check in wish.unchecked],
            mode=wish.mode,
            by=by,
            now=now,
        )
        audit.append(
            tx,
            actor=by,
            act="canary.made",
            subject=version.label,
            details={"canary": made.id, "plan": plan_body, "unchecked": list(made.unchecked)},
        )
        canaries.look_again(tx, version.adapter_id, at=now)
        return made

    def _supersede(
        self, tx: Connection, version: Version, plan: Plan, *, by: str, now: datetime
    ) -> None:
        """End the canary that is under way; one of the same version only for other steps."""
        standing = canaries.active(tx, version.adapter_id)
        if standing is None:
            return
        if standing.version_id == version.id and plan_from_json(standing.plan) == plan:
            raise NotPossible(f"canary {standing.id} of {version.name} is under way")
        scene = hold_scene(tx, standing, self.hands.kill_switch, claimed=False, now=now)
        assert scene is not None, "not claimed, so always held"  # noqa: S101 (invariant)
        order = Ordered(order=OrderKind.SUPERSEDE, by=f"{version.name}, {by}")
        self.hands.apply(tx, scene, order, actor=by, now=now)

    def _refuse_others(self, tx: Connection, canary: CanaryRow, kind: OrderKind) -> None:
        """Refuse to resume an ended canary while another one is under way."""
        if kind is not OrderKind.RESUME or canary.ended_at is None:
            return
        adapters.hold(tx, canary.adapter_id)
        other = canaries.active(tx, canary.adapter_id)
        if other is not None:
            raise NotPossible(f"canary {other.id} of {other.version} is under way")


_RAISING = frozenset({OrderKind.RESUME, OrderKind.PROMOTE})


def _refuse_latched(tx: Connection, version: Version) -> None:
    rolled_back = canaries.latched(tx, version.adapter_id).get(version.name)
    if rolled_back is not None:
        raise NotPossible(
            f"{version.name} was rolled back by canary {rolled_back}: resume that one to let it"
            " try again"
        )


def _refuse_unadmitted(tx: Connection, version: Version) -> None:
    why_not = unadmitted(tx, version)
    if why_not is not None:
        raise NotPossible(why_not)
