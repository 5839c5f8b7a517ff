"""Find out whether the router does what canaries' routes say, apart from the looks at them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.domain import Route
from monitor.store import canaries, routes
from monitor.store.actions import AUTOMATIC
from monitor.store.canaries import CanaryId, CanaryRow
from monitor.traffic.asking import Answer, tell
from monitor.traffic.routers import Router
from monitor.traffic.trial.hands import Hands
from monitor.traffic.trial.scene import hold_scene
from monitor.traffic.trial.states import ReadBack

IN_A_ROW: Final = 3
"""Canaries of which the router says nothing, one after another in a turn: then it is away."""


@dataclass(slots=True, kw_only=True)
class ReadingBack:
    """Asks the router about every canary whose route was not read back yet.

    No look waits for it: a router may hang for as long as it likes, and shares are still
    judged and routes renewed meanwhile. One that is away is asked ``IN_A_ROW`` times in a
    turn, not once for each canary; all of them are then told what it said. Several daemons
    may do this at once: an answer counts for the arms that were asked about, or not at all.

    Parameters
    ----------
    monotonic
        Seconds; paces what stays unanswered.
    """

    hands: Hands
    router: Router
    monotonic: Callable[[], float] = time.monotonic
    _asked: dict[CanaryId, float] = field(default_factory=dict)

    def turn(self, *, now: datetime | None = None) -> bool:
        """Ask about all that are due; True where the router does what one of them says.

        ``now``: the database's, but in tests.
        """
        unread = self.hands.database.run(canaries.unread)
        known = {canary.id for canary in unread}
        self._asked = {one: at for one, at in self._asked.items() if one in known}
        silent, settled, answer = 0, False, None
        # whoever was not asked for the longest comes first: some that fail hold up no others
        for canary in sorted(filter(self._is_due, unread), key=self._last_asked):
            route = self._route(canary)
            if route is None:
                continue  # the next look says so
            if answer is None or silent < IN_A_ROW:
                self._asked[canary.id] = self.monotonic()
                answer = tell(self.router, route)
                silent = silent + 1 if answer.goes is None else 0
            settled |= self._settle(canary, route, answer, now)
        return settled

    def _route(self, canary: CanaryRow) -> Route | None:
        return self.hands.database.run(lambda tx: routes.get(tx, canary.adapter))

    def _is_due(self, canary: CanaryRow) -> bool:
        """At each turn while people need not know yet; after that every ``read_back``."""
        told = canary.state.get("unverified") is not None
        pause = self.hands.settings.read_back.total_seconds()
        return not told or self.monotonic() >= self._last_asked(canary) + pause

    def _last_asked(self, canary: CanaryRow) -> float:
        return self._asked.get(canary.id, float("-inf"))

    def _settle(
        self, canary: CanaryRow, route: Route, answer: Answer, now: datetime | None
    ) -> bool:
        def work(tx: Connection) -> bool:
            at = now or canaries.moment(tx)
            scene = hold_scene(tx, canary, self.hands.kill_switch, claimed=False, now=at)
            assert scene is not None, "not claimed, so always held"  # noqa: S101 (invariant)
            in_force = scene.route.route.arms if scene.route else None
            if scene.state.ended or in_force != route.arms:
                return False
            since = scene.state.unread_since or scene.state.since or at
            problem = None if answer.goes else answer.reason
            early = at - since < self.hands.settings.read_back
            if problem is None or not (early or problem == scene.state.unverified):
                self.hands.apply(tx, scene, ReadBack(problem=problem), actor=AUTOMATIC, now=at)
            return problem is None

        return self.hands.database.run(work)
