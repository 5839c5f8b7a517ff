"""The route of an adapter with a version on trial: written and read. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alerts.words import clock_time
from monitor.domain import Arm, ArmKind, Route, Version
from monitor.traffic.arms import effective, following, stable_arm
from monitor.traffic.trial.states import (
    CanaryState,
    Effect,
    InRoute,
    Mirror,
    OnBlind,
    Plan,
    Promote,
    Renew,
    SetWeight,
    TakeBack,
)

_SAME: Final = 1e-6
_KEPT: Final = 0.75
"""The part of a term that is left when it is renewed."""
_TRIAL: Final = frozenset({ArmKind.CANARY, ArmKind.SHADOW})


def changed(
    route: Route, effect: Effect, version: Version, *, plan: Plan, reason: str, now: datetime
) -> Route | None:
    """Return the route that an effect asks for; None where the route in force will do.

    ``version`` is the version on trial, or the one to put in charge again where a promotion
    is taken back. A route with a version on trial expires: the router then brings the
    weight to 0 by itself.
    """
    until = now + plan.blind_max if plan.on_blind is OnBlind.ROLLBACK else None
    match effect:
        case Renew():
            return _renewed(route, until, most=plan.blind_max, now=now)
        case SetWeight(weight=0.0) | Promote() | TakeBack():
            until = None
        case SetWeight() | Mirror():
            pass
    arms = _arms(route, effect, version)
    return following(route, arms, reason=reason, now=now, valid_until=until)


def _renewed(
    route: Route, until: datetime | None, *, most: timedelta, now: datetime
) -> Route | None:
    """Renew the route's term, once a quarter of it is over: each renewal is a generation to fetch.

    So the route outlives three quarters of ``most`` without a look, and at the longest interval
    allowed, half of ``most``, each look renews it, be it a little early. Also renew it where the
    clock went back, which leaves more than a whole term.
    """
    left = route.valid_until - now if route.valid_until else timedelta()
    if until is None or most * _KEPT < left <= most:
        return None
    return replace(route, generation=route.generation + 1, valid_until=until)


def _arms(route: Route, effect: Effect, version: Version) -> tuple[Arm, ...]:
    stable = stable_arm(route)
    if isinstance(effect, Promote | TakeBack):
        return (replace(stable, version=version.name, model=version.model, weight=1.0),)
    weight = effect.weight if isinstance(effect, SetWeight) else 0.0
    # keep all other arms: somebody else put them there
    others = tuple(arm for arm in route.arms if arm.arm not in _TRIAL and arm.arm != stable.arm)
    left = 1.0 - weight - sum(arm.weight for arm in others)
    trial: tuple[Arm, ...] = ()
    if weight > 0 or isinstance(effect, Mirror):
        kind = ArmKind.CANARY if weight > 0 else ArmKind.SHADOW
        trial = (Arm(arm=kind, version=version.name, model=version.model, weight=weight),)
    return (replace(stable, weight=left), *trial, *others)


def standing(
    route: Route | None,
    state: CanaryState,
    *,
    version: str,
    control: str,
    term: datetime | None,
    now: datetime,
) -> tuple[InRoute, str]:
    """Return the state of the canary's place in the route, with the reason.

    ``term`` is the end that a person set for it.
    """
    if route is None:
        return InRoute.GONE, "the adapter has no route"
    named, in_charge = f"generation {route.generation}: {route.reason}", stable_arm(route)
    if in_charge.version == version:
        return InRoute.IN_CHARGE, f"put in charge by hand, {named}"
    arm = next((a for a in route.arms if a.arm in _TRIAL and a.version == version), None)
    if arm is None:
        return InRoute.GONE, f"taken out of the route, {named}"
    if in_charge.version != control:
        return InRoute.CHANGED, f"{in_charge.version} is in charge, not {control}; {named}"
    if term is not None and term <= now:
        return _of_its_term(route, term, now)
    return _of_its_arm(route, arm, state, now)


def _of_its_term(route: Route, term: datetime, now: datetime) -> tuple[InRoute, str]:
    """Return the end of a term that a person set, which is no evidence against the version."""
    heir = effective(route, term)
    [left] = [arm for arm in heir.arms if arm.weight > 0]
    reason = f"a person let it stand until {clock_time(term, now=now)}, then all to {left.version}"
    return InRoute.OVER if left.arm is ArmKind.STABLE else InRoute.GONE, reason


def _of_its_arm(route: Route, arm: Arm, state: CanaryState, now: datetime) -> tuple[InRoute, str]:
    if route.valid_until is not None and route.valid_until <= now:
        return InRoute.EXPIRED, f"the route expired at {clock_time(route.valid_until, now=now)}"
    if abs(arm.weight - state.weight) > _SAME:
        reason = f"its share is {arm.weight:g}, not {state.weight:g}; {route.reason}"
        return InRoute.CHANGED, reason
    return InRoute.OURS, ""


def unfit(route: Route | None, version: str, *, replaces: str | None = None) -> str | None:
    """Say why no canary can begin on this route; None where one can.

    ``replaces`` names the version whose canary the new one would supersede.
    """
    if route is None:
        return "the adapter has no route"
    if stable_arm(route).version == version:
        return f"{version} is in charge already"
    busy = [
        arm for arm in route.arms if arm.arm in _TRIAL and arm.version not in {version, replaces}
    ]
    if busy:
        return f"{busy[0].version} is its {busy[0].arm.value} arm already"
    away = [arm for arm in route.arms if arm.arm is ArmKind.FALLBACK and arm.weight > 0]
    if away or stable_arm(route).weight <= 0:
        answers = away[0].version if away else "another version"
        stable = stable_arm(route).version
        return f"{answers} answers in place of {stable}: a canary needs a version in charge"
    return None
