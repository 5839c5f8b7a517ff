"""Tell a router a route and find out whether it goes by it: one way for all that moves traffic."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from monitor.domain import Arm, Route
from monitor.traffic.routers import Router, RouterFailed

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a router was found to do.

    goes
        True: by the route. False: by something else. None: it could not be read.
    reason
        In words, for people.
    """

    goes: bool | None
    reason: str


def tell(router: Router, route: Route) -> Answer:
    """Tell it once and read it back, outside transactions; neither is waited for beyond that.

    Where telling failed it may have taken effect all the same: only reading back can tell.
    """
    try:
        router.apply(route)
    except RouterFailed as error:
        _LOG.warning("router_failed", adapter=route.adapter, error=str(error))
    return read(router, route)


def read(router: Router, route: Route) -> Answer:
    """Compare what it does with the route."""
    try:
        real = router.read_back(route.adapter)
    except RouterFailed as error:
        return Answer(goes=None, reason=f"not read back yet: {error}")
    if real == route.arms:
        return Answer(goes=True, reason=f"read back at generation {route.generation}")
    return Answer(goes=False, reason=f"the router says {_words(real)}, not the route")


def _words(arms: tuple[Arm, ...] | None) -> str:
    if arms is None:
        return "nothing"
    return ", ".join(f"{arm.arm.value} {arm.version} {arm.weight:g}" for arm in arms)
