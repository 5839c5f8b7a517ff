"""The arms a route may have, and their effect at a given moment. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.domain import Arm, ArmKind, Route, Version

_TOLERANCE: Final = 1e-6
"""Weights typed by people (.33, .33, .34) need not sum to 1 exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRequest:
    """An arm of a requested route; its model follows from the registered version."""

    arm: ArmKind
    version: str
    weight: float


class InvalidRoute(ValueError):  # noqa: N818 (named as what it is)
    """The requested arms form no valid route; ``problems`` has a sentence for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def resolve_arms(
    requests: Sequence[ArmRequest], versions: Mapping[str, Version]
) -> tuple[Arm, ...]:
    """Check arms and give each the model its version is served under.

    Parameters
    ----------
    versions
        The adapter's registered versions by name.

    Raises
    ------
    InvalidRoute
        Weights that are not shares summing to 1, no stable arm, an arm twice, a version
        that is not registered, or a shadow that would answer.
    """
    problems = [
        *_kind_problems(requests),
        *(problem for request in requests for problem in _arm_problems(request, versions)),
    ]
    total = math.fsum(request.weight for request in requests)
    if math.isfinite(total) and abs(total - 1.0) > _TOLERANCE:
        problems.append(f"the weights sum to {total:g}, not 1")
    if problems:
        raise InvalidRoute(problems)
    return tuple(
        Arm(
            arm=request.arm,
            version=request.version,
            model=versions[request.version].model,
            weight=request.weight,
        )
        for request in requests
    )


def _kind_problems(requests: Sequence[ArmRequest]) -> list[str]:
    kinds = [request.arm for request in requests]
    problems = [f"arm {kind.value} is there twice" for kind in ArmKind if kinds.count(kind) > 1]
    if ArmKind.STABLE not in kinds:
        problems.append("a route needs a stable arm (its weight may be 0)")
    return problems


def _arm_problems(request: ArmRequest, versions: Mapping[str, Version]) -> list[str]:
    name = f"{request.arm.value} {request.version}"
    problems = []
    if not (math.isfinite(request.weight) and 0 <= request.weight <= 1):
        problems.append(f"{name}: weight {request.weight:g} is not in [0, 1]")
    elif request.arm is ArmKind.SHADOW and request.weight > 0:
        problems.append(f"{name}: a shadow does not answer, its weight must be 0")
    if request.version not in versions:
        problems.append(f"{name}: the version is not registered")
    return problems


def effective(route: Route, now: datetime) -> Route:
    """Return the route with its expiry applied: what a router should do at ``now``.

    After ``valid_until`` all traffic goes to the arm named by ``on_expiry``, or to the
    stable arm where there is no such arm. The generation stays the same: expiry is no new
    route.
    """
    if route.valid_until is None or now < route.valid_until:
        return route
    kinds = {arm.arm for arm in route.arms}
    heir = route.on_expiry if route.on_expiry in kinds else ArmKind.STABLE
    return replace(
        route,
        arms=tuple(replace(arm, weight=float(arm.arm is heir)) for arm in route.arms),
        reason=f"expired at {route.valid_until.isoformat()}: all to {heir.value}"
        f" (was: {route.reason})",
    )


def serving_arm(route: Route, version: str) -> Arm | None:
    """Return the stable or fallback arm through which ``version`` answers now, if any."""
    for arm in route.arms:
        in_charge = arm.arm in {ArmKind.STABLE, ArmKind.FALLBACK}
        if in_charge and arm.version == version and arm.weight > 0:
            return arm
    return None


def stable_arm(route: Route) -> Arm:
    """Return the stable arm, which every route has."""
    return next(arm for arm in route.arms if arm.arm is ArmKind.STABLE)


def fallback_arm(route: Route) -> Arm | None:
    """Return the fallback arm; None where the route has none."""
    return next((arm for arm in route.arms if arm.arm is ArmKind.FALLBACK), None)


def fallback_arms(route: Route, target: Version) -> tuple[Arm, ...]:
    """Return arms that send all traffic to ``target``; the stable arm stays, with weight 0."""
    return (
        replace(stable_arm(route), weight=0.0),
        Arm(arm=ArmKind.FALLBACK, version=target.name, model=target.model, weight=1.0),
    )


def trial_arms(route: Route, share: float) -> tuple[Arm, ...]:
    """Return arms that give the stable arm a share, and the fallback arm the rest."""
    kept = fallback_arm(route)
    assert kept is not None, "a trial begins from a fallback"  # noqa: S101 (invariant)
    return (replace(stable_arm(route), weight=share), replace(kept, weight=1.0 - share))


def returned_arms(route: Route) -> tuple[Arm, ...]:
    """Return the stable arm alone, with all traffic."""
    return (replace(stable_arm(route), weight=1.0),)


def following(
    route: Route,
    arms: tuple[Arm, ...],
    *,
    reason: str,
    now: datetime,
    valid_until: datetime | None = None,
    on_expiry: ArmKind = ArmKind.STABLE,
) -> Route:
    """Return the next generation of a route, with other arms."""
    return replace(
        route,
        generation=route.generation + 1,
        arms=arms,
        reason=reason,
        since=now,
        valid_until=valid_until,
        on_expiry=on_expiry,
    )
