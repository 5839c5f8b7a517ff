"""The parts of a worker's loops, and how the loops sleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from monitor.config.sections import Config
from monitor.daemon.parts import Serving
from monitor.outbox.channels import ConfiguredChannel
from monitor.probes.embedding import Embedder
from monitor.schedule import Loop, Pulse
from monitor.store.database import Database
from monitor.store.wakeups import Due, WakeUps, never
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.routers.contract import Router
from monitor.traffic.trial.hands import Hands


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """The parts with which the loops work."""

    config: Config
    database: Database
    channels: list[ConfiguredChannel]
    serving: Serving
    embedder: Embedder
    router: Router
    breaker: Breaker
    hands: Hands


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Makes loops that sleep until they are woken or due."""

    pulse: Pulse
    wakeups: WakeUps

    def loop(
        self,
        name: str,
        work: Callable[[], bool],
        *,
        every: timedelta,
        woken_by: str,
        due: Due = never,
    ) -> Loop:
        """Make a loop that looks at most each ``every`` by itself, and at once when notified."""
        rest = partial(self.wakeups.rest, due, least=every)
        loop = Loop(name, work, pulse=self.pulse, every=every, rest=rest)
        self.wakeups.on(woken_by, lambda _payload: loop.wake())
        return loop
