"""Which arm of a route answers a request. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

from monitor.domain import Arm, ArmKind, Route

_FULL: Final = 2**64
_ORDER: Final = (ArmKind.CANARY, ArmKind.FALLBACK, ArmKind.STABLE)
"""As arms are laid end to end: who is in a canary of 5 % stays in it at 25 %."""


def point_of(route: Route, subject: str) -> float:
    """Where in [0, 1) a subject falls: always the same, until another version is on trial.

    Each canary draws its subjects anew, so that they are not always the same people.
    """
    trial = next((arm.version for arm in route.arms if arm.arm is ArmKind.CANARY), "")
    name = f"{route.adapter}\0{trial}\0{subject}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") / _FULL


def choose(route: Route, point: float) -> Arm | None:
    """Choose the arm in which ``point`` in [0, 1) lies; None where no arm has traffic."""
    serving = [arm for kind in _ORDER for arm in route.arms if arm.arm is kind and arm.weight > 0]
    left = point * sum(arm.weight for arm in serving)
    for arm in serving:
        left -= arm.weight
        if left < 0:
            return arm
    return serving[-1] if serving else None


def rescuer(route: Route, failed: Arm) -> Arm:
    """Choose who answers in place of an arm that could not: stable, else fallback.

    A stable arm that a fallback stands in for is not asked. ``failed`` itself where there
    is no other: another replica may still answer.
    """
    arms = {arm.arm: arm for arm in route.arms}
    stable, fallback = arms.get(ArmKind.STABLE), arms.get(ArmKind.FALLBACK)
    replaced = fallback is not None and fallback.weight > 0
    for arm in (None if replaced else stable, fallback):
        if arm is not None and arm.model != failed.model:
            return arm
    return failed
