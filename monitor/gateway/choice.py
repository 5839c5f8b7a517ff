"""Choose the arm of a route that answers a request. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

from monitor.domain import Arm, ArmKind, Route

_FULL: Final = 2**64
_ORDER: Final = (ArmKind.CANARY, ArmKind.FALLBACK, ArmKind.STABLE)
"""The order in which arms are laid end to end: a canary of 25 % contains that of 5 %."""


def point_of(route: Route, subject: str) -> float:
    """Place a subject in [0, 1): stable until another version is on trial.

    Each canary draws its subjects anew, so that it is not always the same people.
    """
    trial = next((arm.version for arm in route.arms if arm.arm is ArmKind.CANARY), "")
    name = f"{route.adapter}\0{trial}\0{subject}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") / _FULL


def choose(route: Route, point: float) -> Arm | None:
    """Return the arm in which ``point`` in [0, 1) lies; None if no arm has traffic."""
    serving = [arm for kind in _ORDER for arm in route.arms if arm.arm is kind and arm.weight > 0]
    left = point * sum(arm.weight for arm in serving)
    for arm in serving:
        left -= arm.weight
        if left < 0:
            return arm
    return serving[-1] if serving else None


def rescuer(route: Route, failed: Arm) -> Arm:
    """Choose the arm that answers in place of a failed one: stable, else fallback.

    A stable arm that a fallback replaces is not used. Returns ``failed`` if there is no other arm:
    another replica may still answer.
    """
    arms = {arm.arm: arm for arm in route.arms}
    stable, fallback = arms.get(ArmKind.STABLE), arms.get(ArmKind.FALLBACK)
    replaced = fallback is not None and fallback.weight > 0
    for arm in (None if replaced else stable, fallback):
        if arm is not None and arm.model != failed.model:
            return arm
    return failed
