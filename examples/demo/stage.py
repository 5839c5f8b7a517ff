"""The stage that the acts play on, once everything on it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from examples.demo.driftline_client import DriftlineClient
from examples.demo.engine_client import EngineClient
from examples.demo.lookout import Lookout, Sight
from examples.demo.narrator import Narrator
from examples.demo.processes import Processes
from examples.demo.receiver import Receiver
from examples.demo.traffic import Traffic

LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What was seen last, whether it was what was waited for, and when."""

    sight: Sight
    met: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """Everything the acts use. ``folder`` is theirs to write into."""

    narrator: Narrator
    processes: Processes
    engine: EngineClient
    client: DriftlineClient
    receiver: Receiver
    traffic: Traffic
    lookout: Lookout
    folder: Path
    config: Path
    dashboard: str
    key: str

    def look(self) -> Sight:
        """See everything now, and tell the news."""
        sight = self.lookout.look()
        self.narrator.news(sight)
        return sight

    def watch(
        self,
        waiting_for: str,
        *,
        seconds: float,
        until: Callable[[Sight], object] = lambda _: False,
    ) -> Watched:
        """Look on for ``seconds``, or until something is seen."""
        began = time.monotonic()
        with self.narrator.watching(waiting_for, seconds=seconds) as picture:
            while True:
                sight = self.lookout.look()
                elapsed = time.monotonic() - began
                picture.show(sight, elapsed=elapsed)
                met = bool(until(sight))
                if met or elapsed >= seconds:
                    return Watched(sight=sight, met=met, seconds=elapsed)
                time.sleep(LOOK_EVERY_S)
