"""Carry out the machine's decisions: state, route, audit and message in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection

from monitor.domain import Mode, Route, VerdictSeverity, Version
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.registry import versions
from monitor.store.traffic import canaries, canary_looks, routes
from monitor.store.traffic.actions import AUTOMATIC
from monitor.store.traffic.canaries import CanaryProgress
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.traffic.arms import stable_arm
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.table import write
from monitor.traffic.trial import machine
from monitor.traffic.trial.news import CanaryNews, canary_news
from monitor.traffic.trial.route import changed
from monitor.traffic.trial.scene import TrialScene, persons_term
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    UNDER_WAY,
    CanaryState,
    Effects,
    Event,
    Phase,
    ReadBack,
    Renew,
    TakeBack,
    to_json,
)
from monitor.traffic.trial.urgency import urgency

_LOG = structlog.get_logger(__name__)


class Teller(Protocol):
    """Tells people a canary's state; a repeated state sends no message.

    ``over``: it moves no traffic any more, so nobody need be awake for it.
    """

    def __call__(
        self,
        tx: Connection,
        version: Version,
        *,
        severity: VerdictSeverity,
        news: CanaryNews,
        over: bool,
        now: datetime,
    ) -> None: ...


class Promoted(Protocol):
    """Called when a version takes charge, in the transaction that swaps the route."""

    def __call__(
        self, tx: Connection, before: Route, after: Route, *, by: str, now: datetime
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LookDetails:
    """The details of a look, stored beside its event.

    ``totals`` are the guardrails' sums so far, ``until`` is the end of the records read.
    """

    outcome: str | None = None
    trial_requests: int | None = None
    control_requests: int | None = None
    guards: Sequence[Mapping[str, Any]] | None = None
    failures: Mapping[str, Sequence[int]] | None = None
    totals: Mapping[str, Any] | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Applies the moves of a canary, whether a look or a person decided them.

    Parameters
    ----------
    mode
        For adapters without a mode of their own.
    tell
        None where this process cannot notify people: then the next look does so, and follows
        at once.
    """

    database: Database
    settings: CanarySettings
    mode: Mode
    kill_switch: KillSwitch
    served: Callable[[str], bool]
    promoted: Promoted
    tell: Teller | None = None

    def apply(
        self,
        tx: Connection,
        scene: TrialScene,
        event: Event,
        *,
        actor: str,
        now: datetime,
        measured: LookDetails | None = None,
    ) -> CanaryState:
        """Step the machine and carry out its effects, in one transaction.

        Raises
        ------
        NotPossible
            The order of a person is impossible now.
        """
        found = measured or LookDetails()
        state, effects = machine.step(scene.state, event, plan=scene.plan, now=now)
        generation = self._route(tx, scene, state, effects, actor=actor, now=now)
        progress = CanaryProgress(
            state=to_json(state),
            phase=state.phase.value,
            latched=state.latched,
            ended=state.ended,
            carried=_carried(scene, state, found),
            generation=generation or scene.canary.generation,
            measured_until=found.until or scene.canary.measured_until,
            next_look_at=self._next(event, scene, state, now=now),
        )
        canaries.save(tx, scene.canary, progress, now=now)
        _write_down(tx, scene, state, event, found, actor=actor, now=now)
        self.say(tx, scene, state, now=now)
        return state

    def say(self, tx: Connection, scene: TrialScene, state: CanaryState, *, now: datetime) -> None:
        """Tell people the canary's state, if this process can."""
        if self.tell is None:
            return
        newer = state.ended and canaries.newer(tx, scene.canary)
        severity = urgency(state, now=now, settles=self.settings.settles, newer=newer)
        if severity is None:
            return
        trial, control = scene.version.name, scene.control.name
        news = canary_news(state, trial=trial, control=control)
        over = state.ended
        self.tell(tx, scene.version, severity=severity, news=news, over=over, now=now)

    def _route(
        self,
        tx: Connection,
        scene: TrialScene,
        state: CanaryState,
        effects: Effects,
        *,
        actor: str,
        now: datetime,
    ) -> int | None:
        """Swap in the effect's route; return its generation, or None if unchanged."""
        if scene.route is None or not effects:
            return None
        (effect,) = effects
        before = scene.route.route
        if isinstance(effect, Renew) and persons_term(tx, scene) is not None:
            return None
        version = scene.version
        if isinstance(effect, TakeBack):
            if stable_arm(before).version != version.name:
                return None  # another version has been put in charge meanwhile
            version = _replaced_by(tx, scene)
        reason = f"canary {scene.canary.id}, {scene.version.name}: {state.reason}"
        after = changed(before, effect, version, plan=scene.plan, reason=reason, now=now)
        if after is None:
            return None
        by = f"{AUTOMATIC}:canary-{scene.canary.id}" if actor == AUTOMATIC else actor
        hold = scene.route.hold_until
        write(tx, scene.canary.adapter_id, route=after, actor=by, hold_until=hold)
        if state.phase is Phase.PROMOTING:
            self.promoted(tx, before, after, by=by, now=now)
        return after.generation

    def _next(
        self, event: Event, scene: TrialScene, state: CanaryState, *, now: datetime
    ) -> datetime | None:
        """Return when to look next: at once if people wait; never after everything is done."""
        if self.tell is None:
            return now
        if state.ended or state.phase in UNDER_WAY:
            return None
        reading = isinstance(event, ReadBack)
        return scene.canary.next_look_at if reading else now + self.settings.interval


def _replaced_by(tx: Connection, scene: TrialScene) -> Version:
    """Return the version from which the promotion took the traffic.

    Usually the control; another one if a person put it in charge during the canary.
    """
    own = scene.canary.generation
    for row in routes.history(tx, scene.canary.adapter, before_generation=own, limit=1):
        name = stable_arm(row.route).version
        if name not in {scene.version.name, scene.control.name}:
            return versions.fetch(tx, adapter=scene.canary.adapter, name=name) or scene.control
    return scene.control


def _carried(scene: TrialScene, state: CanaryState, found: LookDetails) -> dict[str, Any]:
    """Keep the sums of earlier steps apart from the present one's.

    A shadow compares pairs, which is another process: its sums are not carried on.
    """
    if state.begun_at != scene.state.begun_at or state.begun_at is None:
        return {}
    latest = found.totals or scene.canary.carried.get("latest", {})
    if state.step != scene.state.step:
        shadow = scene.plan.steps[scene.state.step].shadow
        return {} if shadow else {"closed": latest, "latest": latest}
    closed = scene.canary.carried.get("closed", {})
    nothing = {"value": 0.0, "information": 0.0}
    fixed = {
        name: {**total, **{key: closed.get(name, nothing)[key] for key in nothing}}
        for name, total in latest.items()
    }
    return {"closed": fixed, "latest": latest}


def _place(state: CanaryState) -> tuple[object, ...]:
    return state.phase, state.pause, state.step, state.weight, state.proposal


def _write_down(
    tx: Connection,
    scene: TrialScene,
    state: CanaryState,
    event: Event,
    found: LookDetails,
    *,
    actor: str,
    now: datetime,
) -> None:
    """Store the look, and append to the audit if the canary's state has changed."""
    moved = _place(state) != _place(scene.state)
    if isinstance(event, ReadBack) and not moved and state.unverified == scene.state.unverified:
        return
    look = CanaryEvent(
        at=now,
        event=event.word,
        phase=state.phase.value,
        pause=state.pause.value if state.pause else None,
        step=state.step,
        weight=state.weight,
        reason=state.unverified or state.reason,
        actor=actor,
        outcome=found.outcome,
        trial_requests=found.trial_requests,
        control_requests=found.control_requests,
        guards=found.guards,
        failures=found.failures,
    )
    canary_looks.append(tx, scene.canary.id, look)
    if not moved:
        return
    details = {
        "canary": scene.canary.id,
        "state": to_json(state),
        "guards": list(found.guards or ()),
    }
    act = f"canary.{state.phase.value}"
    audit.append(tx, actor=actor, act=act, subject=scene.canary.label, details=details)
    _LOG.info(
        "canary_moved",
        canary=scene.canary.id,
        version=scene.canary.label,
        phase=state.phase.value,
        pause=look.pause,
        weight=state.weight,
        reason=state.reason,
    )
