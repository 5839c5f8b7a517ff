"""Look at canaries one at a time: read their state and measure them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from monitor.domain import Route
from monitor.store import clock
from monitor.store.clock import Clock
from monitor.store.registry import versions
from monitor.store.traffic import canaries
from monitor.store.traffic.actions import AUTOMATIC
from monitor.store.traffic.canaries import CanaryRow
from monitor.traffic.arms import stable_arm
from monitor.traffic.table import unadmitted
from monitor.traffic.trial.comparing import TrialLook, compare
from monitor.traffic.trial.hands import Hands, LookDetails
from monitor.traffic.trial.prechecks import check
from monitor.traffic.trial.readiness import facts_of
from monitor.traffic.trial.route import standing, unfit
from monitor.traffic.trial.scene import (
    TrialScene,
    firing,
    forbidden,
    hold_scene,
    permission,
    persons_term,
    since_a_jump,
)
from monitor.traffic.trial.states import (
    BEGUN,
    UNBEGUN,
    CanaryState,
    Event,
    Looked,
    Phase,
    PrechecksLooked,
    state_from_json,
)
from monitor.traffic.trial.transitions import PLACED

_LOG = structlog.get_logger(__name__)

EventOf = Callable[[Connection, TrialScene], Event]
"""Observes the event of a canary whose lock is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Looks at the canaries that are due; any number of judges share a database.

    Parameters
    ----------
    owner
        Names this process in leases.
    probed
        Whether probes ask models here, so that canaries wait for their answers.
    """

    hands: Hands
    owner: str
    probed: bool = False

    def turn(self, *, now: datetime | None = None) -> bool:
        """Look at one canary; False where none is due. ``now``: the database's, except in tests.

        The look reads only the database, so that no engine or router delays other canaries.
        """
        claimed = self._claimed(BEGUN, now)
        if claimed is None:
            return False
        if claimed.state.phase in PLACED:
            self._look(claimed)
        else:
            self._tell(claimed)
        return True

    def check(self, *, now: datetime | None = None) -> bool:
        """Run the prechecks of one canary, which ask engines; False where none is due."""
        claimed = self._claimed(UNBEGUN, now)
        if claimed is None:
            return False
        self._check(claimed)
        return True

    def next_due(self, phases: Collection[Phase]) -> timedelta | None:
        """Return the time until a canary in these phases is due; None while none waits."""
        return self.hands.database.run(lambda tx: canaries.next_due(tx, phases=phases))

    def _claimed(self, phases: Collection[Phase], now: datetime | None) -> _Claimed | None:
        """Claim a due canary; None after a clock jump that has not been handled yet."""
        lease = self.hands.settings.lease

        def work(tx: Connection) -> _Claimed | None:
            known = clock.read(tx)
            if now is None and clock.unseen(known, now=clock.now(tx)):
                return None
            one = canaries.claim(tx, owner=self.owner, lease=lease, phases=phases, now=now)
            if one is None:
                return None
            canary, at = one
            return _Claimed(canary=since_a_jump(canary, known, now=at), at=at, clock=known)

        return self.hands.database.run(work)

    def _tell(self, one: _Claimed) -> None:
        """Tell people of a canary that needs no look: of its end, or of an order."""

        def work(tx: Connection) -> None:
            scene = self._held(tx, one)
            if scene is not None:
                self.hands.say(tx, scene, scene.state, now=one.at)
                canaries.release(tx, scene.canary, next_look_at=None)

        self.hands.database.run(work)

    def _check(self, one: _Claimed) -> None:
        canary, state, at = one.canary, one.state, one.at
        version = self.hands.database.run(lambda tx: versions.fetch_by_id(tx, canary.version_id))
        served = self.hands.served(version.model)
        waits_since = state.since if state.phase is Phase.PRECHECKS else None
        wait = self.hands.settings.prechecks_wait
        given_up = waits_since is not None and at - waits_since >= wait

        def seen(tx: Connection, scene: TrialScene) -> Event:
            facts = facts_of(tx, scene.version, scene.control, served=served, probed=self.probed)
            checked = check(
                facts,
                unchecked=canary.unchecked,
                perplexity_margin=self.hands.settings.perplexity_margin,
                given_up=given_up,
            )
            why_not = forbidden(scene, now=at) or unadmitted(tx, scene.version) or _no_place(scene)
            if not checked.passed or why_not is None:
                return checked
            return PrechecksLooked(passed=None, reason=why_not, given_up=given_up)

        self._apply(one, seen)

    def _look(self, one: _Claimed) -> None:
        at = one.at
        compared = self._compared(one) if one.state.placed else TrialLook()

        def seen(tx: Connection, scene: TrialScene) -> Event:
            in_route, reason = standing(
                _route(scene, at),
                scene.state,
                version=scene.version.name,
                control=scene.control.name,
                term=_end(scene, persons_term(tx, scene), at),
                now=at,
            )
            return Looked(
                found=compared.measurement.found if compared.measurement else None,
                in_route=in_route,
                in_route_reason=reason,
                stable_firing=firing(tx, scene.control),
                permission=permission(
                    tx, scene, settings=self.hands.settings, default_mode=self.hands.mode, now=at
                ),
                trouble=compared.trouble,
            )

        self._apply(one, seen, measured=compared.stored)

    def _compared(self, one: _Claimed) -> TrialLook:
        """Compare both arms; an error counts as a look without a measurement."""
        hands, canary = self.hands, one.canary
        try:
            return compare(
                hands.database,
                canary,
                one.state,
                settings=hands.settings,
                known=one.clock,
                now=one.at,
            )
        except Exception as error:  # noqa: BLE001 (one canary of many: blindness is an answer)
            _LOG.exception("canary_not_measured", canary=canary.id, version=canary.label)
            return TrialLook(trouble=f"it could not be measured ({type(error).__name__})")

    def _apply(self, one: _Claimed, seen: EventOf, *, measured: LookDetails | None = None) -> None:
        def work(tx: Connection) -> None:
            scene = self._held(tx, one)
            if scene is not None:
                event = seen(tx, scene)
                self.hands.apply(tx, scene, event, actor=AUTOMATIC, now=one.at, measured=measured)

        self.hands.database.run(work)

    def _held(self, tx: Connection, one: _Claimed) -> TrialScene | None:
        return hold_scene(tx, one.canary, self.hands.kill_switch, claimed=True, now=one.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claimed:
    """A claimed canary, and the state of the clock."""

    canary: CanaryRow
    at: datetime
    clock: Clock | None

    @property
    def state(self) -> CanaryState:
        return state_from_json(self.canary.state)


def _end(scene: TrialScene, until: datetime | None, at: datetime) -> datetime | None:
    return None if until is None else clock.end(scene.clock, until, now=at)


def _route(scene: TrialScene, at: datetime) -> Route | None:
    """Return the route; a jump of the clock does not end its term."""
    route = scene.route.route if scene.route else None
    return None if route is None else replace(route, valid_until=_end(scene, route.valid_until, at))


def _no_place(scene: TrialScene) -> str | None:
    route = scene.route.route if scene.route else None
    why_not = unfit(route, scene.version.name)
    if why_not is not None or route is None:
        return why_not
    in_charge = stable_arm(route).version
    if in_charge != scene.control.name:
        return f"{in_charge} is in charge, not {scene.control.name} as when it was made"
    return None
