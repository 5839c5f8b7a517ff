"""Canaries' routes, as changes that the router must be seen to carry out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Route
from monitor.store.traffic import canaries
from monitor.store.traffic.actions import AUTOMATIC
from monitor.store.traffic.canaries import CanaryId, CanaryRow
from monitor.traffic.readback import AGAIN, RouterAnswer, UnreadChange
from monitor.traffic.trial.hands import Hands
from monitor.traffic.trial.scene import hold_scene
from monitor.traffic.trial.states import ReadBack


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialChanges:
    """Tells canaries the router's answers, and people if these take longer than ``read_back``.

    An answer counts only if the route still has the arms that were asked about.
    """

    hands: Hands

    def unread(self, tx: Connection, *, now: datetime) -> Sequence[UnreadChange]:
        """List the canaries whose route was not read back yet."""
        del now
        return [self._of(canary) for canary in canaries.unread(tx)]

    def unsettled(self, tx: Connection) -> bool:
        """Return whether a canary's route is yet to be read back."""
        return bool(canaries.unread(tx))

    def _of(self, canary: CanaryRow) -> UnreadChange:
        told = canary.state.get("unverified") is not None
        return UnreadChange(
            owner=canary.id,
            adapter=canary.adapter,
            pause=max(self.hands.settings.read_back, AGAIN) if told else AGAIN,
        )

    def settle(
        self,
        tx: Connection,
        change: UnreadChange,
        route: Route | None,
        answer: RouterAnswer,
        *,
        now: datetime,
    ) -> bool:
        """Step the canary; an unconfirmed route is a problem only after ``read_back``."""
        canary = canaries.fetch(tx, CanaryId(change.owner))
        scene = hold_scene(tx, canary, self.hands.kill_switch, claimed=False, now=now)
        assert scene is not None, "not claimed, so always held"  # noqa: S101 (invariant)
        in_force = scene.route.route.arms if scene.route else None
        if scene.state.ended or route is None or in_force != route.arms:
            return False
        since = scene.state.unread_since or scene.state.since or now
        problem = None if answer.goes else answer.reason
        early = now - since < self.hands.settings.read_back
        if problem is None or not (early or problem == scene.state.unverified):
            event = ReadBack(problem=problem)
            self.hands.apply(tx, scene, event, actor=AUTOMATIC, now=now)
        return problem is None
