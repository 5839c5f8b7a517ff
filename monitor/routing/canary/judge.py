"""Look at canaries, one at a time: what has become of them, and what they measure now."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from monitor.routing.arms import stable_arm
from monitor.routing.canary.comparing import Compared, compare
from monitor.routing.canary.hands import Hands, Measured
from monitor.routing.canary.prechecks import check
from monitor.routing.canary.readiness import facts_of
from monitor.routing.canary.route import standing, unfit
from monitor.routing.canary.scene import (
    Scene,
    firing,
    forbidden,
    hold_scene,
    permission,
    persons_term,
)
from monitor.routing.canary.states import (
    UNBEGUN,
    CanaryState,
    Checked,
    Event,
    Looked,
    Phase,
    state_from_json,
)
from monitor.routing.canary.transitions import PLACED
from monitor.store import canaries, versions
from monitor.store.actions import AUTOMATIC
from monitor.store.canaries import CanaryRow

_LOG = structlog.get_logger(__name__)

EventOf = Callable[[Connection, Scene], Event]
"""What is seen of a canary that is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Looks at whatever canary is due; any number of these share a database.

    Parameters
    ----------
    owner
        Names this process in leases.
    probed
        Whether probes ask models here, so that their answers are waited for.
    """

    hands: Hands
    owner: str
    probed: bool = False

    def turn(self, *, now: datetime | None = None) -> bool:
        """Look at one canary; False where none is due. ``now``: the database's, but in tests.

        Only the database is asked, so that no engine or router keeps the others waiting.
        """
        claimed = self._claimed(frozenset(Phase) - UNBEGUN, now)
        if claimed is None:
            return False
        canary, at = claimed
        if state_from_json(canary.state).phase in PLACED:
            self._look(canary, at)
        else:
            self._tell(canary, at)
        return True

    def check(self, *, now: datetime | None = None) -> bool:
        """Look at the pre-checks of one canary, which asks engines; False where none is due."""
        claimed = self._claimed(UNBEGUN, now)
        if claimed is None:
            return False
        canary, at = claimed
        self._check(canary, state_from_json(canary.state), at)
        return True

    def _claimed(
        self, phases: Collection[Phase], now: datetime | None
    ) -> tuple[CanaryRow, datetime] | None:
        lease = self.hands.settings.lease
        return self.hands.database.run(
            lambda tx: canaries.claim(tx, owner=self.owner, lease=lease, phases=phases, now=now)
        )

    def _tell(self, canary: CanaryRow, at: datetime) -> None:
        """Tell people of a canary that needs no look: its end, or what an order began."""

        def work(tx: Connection) -> None:
            scene = self._held(tx, canary)
            if scene is not None:
                self.hands.say(tx, scene, scene.state, now=at)
                canaries.release(tx, scene.canary, next_look_at=None)

        self.hands.database.run(work)

    def _check(self, canary: CanaryRow, state: CanaryState, at: datetime) -> None:
        version = self.hands.database.run(lambda tx: versions.fetch_by_id(tx, canary.version_id))
        served = self.hands.served(version.model)
        waits_since = state.since if state.phase is Phase.PRECHECKS else None
        wait = self.hands.settings.prechecks_wait
        given_up = waits_since is not None and at - waits_since >= wait

        def seen(tx: Connection, scene: Scene) -> Event:
            facts = facts_of(tx, scene.version, scene.control, served=served, probed=self.probed)
            checked = check(
                facts,
                unchecked=canary.unchecked,
                perplexity_margin=self.hands.settings.perplexity_margin,
                given_up=given_up,
            )
            why_not = forbidden(scene, now=at) or _no_place(scene)
            if not checked.passed or why_not is None:
                return checked
            return Checked(passed=None, reason=why_not, given_up=given_up)

        self._apply(canary, seen, at)

    def _look(self, canary: CanaryRow, at: datetime) -> None:
        state = state_from_json(canary.state)
        compared = self._compared(canary, state, at) if state.placed else Compared()

        def seen(tx: Connection, scene: Scene) -> Event:
            in_route, reason = standing(
                scene.route.route if scene.route else None,
                scene.state,
                version=scene.version.name,
                control=scene.control.name,
                term=persons_term(tx, scene),
                now=at,
            )
            return Looked(
                found=compared.measurement.found if compared.measurement else None,
                in_route=in_route,
                in_route_reason=reason,
                stable_firing=firing(tx, scene.control),
                permission=permission(
                    tx,
                    scene,
                    settings=self.hands.settings,
                    default_mode=self.hands.mode,
                    now=at,
                ),
                trouble=compared.trouble,
            )

        self._apply(canary, seen, at, measured=compared.stored)

    def _compared(self, canary: CanaryRow, state: CanaryState, at: datetime) -> Compared:
        """Compare; what goes wrong is a look that saw nothing."""
        hands = self.hands
        try:
            return compare(hands.database, canary, state, settings=hands.settings, now=at)
        except Exception as error:  # noqa: BLE001 (one canary of many: blindness is an answer)
            _LOG.exception("canary_not_measured", canary=canary.id, version=canary.label)
            return Compared(trouble=f"it could not be measured ({type(error).__name__})")

    def _apply(
        self,
        canary: CanaryRow,
        seen: EventOf,
        at: datetime,
        *,
        measured: Measured | None = None,
    ) -> None:
        def work(tx: Connection) -> None:
            scene = self._held(tx, canary)
            if scene is not None:
                event = seen(tx, scene)
                self.hands.apply(tx, scene, event, actor=AUTOMATIC, now=at, measured=measured)

        self.hands.database.run(work)

    def _held(self, tx: Connection, canary: CanaryRow) -> Scene | None:
        return hold_scene(tx, canary, self.hands.kill_switch, claimed=True)


def _no_place(scene: Scene) -> str | None:
    route = scene.route.route if scene.route else None
    why_not = unfit(route, scene.version.name)
    if why_not is not None or route is None:
        return why_not
    in_charge = stable_arm(route).version
    if in_charge != scene.control.name:
        return f"{in_charge} is in charge, not {scene.control.name} as when it was made"
    return None
