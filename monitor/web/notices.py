"""Notices about the whole service, shown above the pages of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from monitor.store.incidents import receivers
from monitor.store.traffic import routes
from monitor.traffic.killswitch import KillSwitch, SwitchReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Reasons why Driftline does not act, or why its messages do not arrive."""

    kill_switch: SwitchReading
    undelivered_for: timedelta
    dead: int
    degraded: Sequence[str]
    """Channels that have accepted no message for ten minutes."""
    astray: Sequence[str]
    """Adapters whose router does not follow the route."""
    unheard: bool = False
    """No channel is configured, so that messages reach nobody."""


def read_notices(tx: Connection, kill_switch: KillSwitch, *, unheard: bool = False) -> Notices:
    """Read what is shown above these pages."""
    channels = receivers.health(tx)
    return Notices(
        kill_switch=kill_switch.read(tx),
        undelivered_for=max((one.oldest for one in channels.values()), default=timedelta()),
        dead=sum(one.dead for one in channels.values()),
        degraded=sorted(name for name, one in channels.items() if one.degraded),
        astray=routes.astray(tx),
        unheard=unheard,
    )
