"""Limit probes, so that they do not hurt serving.

One engine is asked by one probe at a time. An engine that failed a probe is left alone for 5
minutes, then 10, 20 … up to an hour, until a probe succeeds; the others are left alone for a while
as well, because what broke one may break the next. Probes take at most a share of an engine's time,
of which a part is reserved (:mod:`monitor.probes.share`). Only this process remembers all this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.probes.errors import ProbeFailed
from monitor.probes.share import SHARE, EngineAllowance, EnginePace, Purpose

FIRST_PAUSE: Final = 300.0
LONGEST_PAUSE: Final = 3600.0
LONGEST_OBEYED: Final = 86_400.0
"""The longest ``Retry-After`` that is obeyed, in seconds."""
MOST_KEPT: Final = 4_096
"""Engines that are remembered although their addresses are gone."""
_PATIENCE: Final = 600.0
"""Seconds that a probe waits for another one to end."""


@dataclass(slots=True, kw_only=True)
class EnginePause:
    """How long an engine is left alone, and why. Times are on the monotonic clock."""

    failures: int = 0
    until: float = 0.0
    because: str = ""

    def grow(self, because: str, *, at: float) -> None:
        """Pause twice as long as last time, at most an hour."""
        length = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self.failures)
        self.failures = min(self.failures + 1, 16)
        self.obey(because, length, at=at)

    def obey(self, because: str, length: float, *, at: float) -> None:
        """Pause for a given time, unless a longer pause is running."""
        if at + length > self.until:
            self.until, self.because = at + length, because

    def end(self) -> None:
        """Forget what was."""
        self.failures, self.until = 0, 0.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Monotonic seconds for counting, and the time of day for messages."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now

    def time(self, ahead: float = 0.0) -> str:
        """Write the time of day, ``ahead`` seconds from now."""
        return f"{self.now() + timedelta(seconds=ahead):%H:%M} UTC"


class Restraint:
    """A keeper for each engine, and a common pause. Safe to share between threads.

    Parameters
    ----------
    share
        The share of each engine's time that probes may take, in (0, 1].
    """

    def __init__(self, *, share: float = SHARE, clocks: Clocks | None = None) -> None:
        self._share = share
        self._clocks = clocks or Clocks()
        self._lock = threading.Lock()
        self._keepers: dict[str, Keeper] = {}
        self._everyone = EnginePause()

    def of(self, url: str) -> Keeper:
        """Return an engine's keeper, always the same one."""
        with self._lock:
            if url not in self._keepers:
                self._keepers[url] = Keeper(
                    share=self._share,
                    everyone=self._everyone,
                    lock=self._lock,
                    clocks=self._clocks,
                )
            return self._keepers[url]

    def keep_only(self, urls: Collection[str]) -> None:
        """Forget engines that are gone once there are very many.

        A replica that a probe has crashed comes back under its address, and is still left alone.
        """
        with self._lock:
            if len(self._keepers) <= MOST_KEPT:
                return
            gone = [url for url, one in self._keepers.items() if url not in urls and one.idle]
            for url in gone:
                del self._keepers[url]


class Keeper:
    """Decides when one engine may be asked, and remembers the results.

    ``spent`` is what the present turn has cost the engine, in seconds.
    """

    def __init__(
        self, *, share: float, everyone: EnginePause, lock: threading.Lock, clocks: Clocks
    ) -> None:
        self._everyone = everyone
        self._lock = lock
        self._clocks = clocks
        self._pause = EnginePause()
        self._allowance = EngineAllowance(share=share, at=clocks.monotonic())
        self._pace = EnginePace()
        self._turn = threading.Lock()
        self._purpose = Purpose.ROUTINE
        self._answered = self._trouble = False
        self.spent = 0.0

    @property
    def idle(self) -> bool:
        """True if no probe runs, and no pause."""
        return not self._turn.locked() and self._clocks.monotonic() >= self._pause.until

    @contextmanager
    def turn(self, purpose: Purpose = Purpose.ROUTINE) -> Iterator[Keeper]:
        """Run the engine's only probe; a successful turn ends its pauses.

        Raises
        ------
        ProbeFailed
            The engine must not be asked now, or another probe of it does not end.
        """
        if not self._turn.acquire(timeout=_PATIENCE):
            raise ProbeFailed("another probe of the engine goes on", permanent=False, asked=False)
        try:
            if (refusal := self.refusal(purpose)) is not None:
                raise refusal
            self._purpose, self.spent = purpose, 0.0
            self._answered = self._trouble = False
            yield self
            self._ended()
        finally:
            self._turn.release()

    def refusal(self, purpose: Purpose = Purpose.ROUTINE) -> ProbeFailed | None:
        """Say why the engine must not be asked now, and for how long; None if it may be."""
        at = self._clocks.monotonic()
        with self._lock:
            for who, pause in (("the", self._pause), ("another", self._everyone)):
                if at < pause.until:
                    return self._refused(f"{who} engine {pause.because}", pause.until - at)
            wait = self._allowance.wait(purpose, at)
        if wait <= 0:
            return None
        share = f"{self._allowance.share:.0%}"
        return self._refused(f"probes have had their share of the engine's time ({share})", wait)

    def _refused(self, why: str, seconds: float) -> ProbeFailed:
        words = f"{why}; not asked again until {self._clocks.time(seconds)}"
        return ProbeFailed(words, permanent=False, asked=False, again_in=seconds)

    @contextmanager
    def request(self, size: int) -> Iterator[TimedRequest]:
        """Charge the engine's cost of one request with a text of ``size`` bytes."""
        began = self._clocks.monotonic()
        request = TimedRequest()
        try:
            yield request
        finally:
            at = self._clocks.monotonic()
            with self._lock:
                cost = at - began
                if request.answered:
                    cost = self._pace.cost(cost, size, at=at)
                self._allowance.spend(self._purpose, cost)
            self.spent += cost

    def answered(self) -> None:
        """Note that the engine answered."""
        self._answered = True

    def failed(self, what: str) -> None:
        """Pause an engine that broke during a probe, longer each time, and others for a while."""
        self._trouble = True
        at = self._clocks.monotonic()
        because = f"failed a probe at {self._clocks.time()} ({what})"
        with self._lock:
            self._pause.grow(because, at=at)
            self._everyone.grow(because, at=at)

    def sent_away(self, what: str, *, seconds: float | None) -> None:
        """Pause a busy engine for as long as it asked, if it said."""
        self._trouble = True
        at = self._clocks.monotonic()
        because = f"asked at {self._clocks.time()} to be left alone ({what})"
        length = FIRST_PAUSE if seconds is None else min(seconds, LONGEST_OBEYED)
        with self._lock:
            self._pause.obey(because, length, at=at)

    def _ended(self) -> None:
        """End the pauses if the engine answered, and never failed or refused the probe."""
        if self._trouble or not self._answered:
            return
        at = self._clocks.monotonic()
        with self._lock:
            self._pause.end()
            # a turn that ran when another engine broke says nothing about the cause
            if at >= self._everyone.until:
                self._everyone.end()


@dataclass(slots=True, kw_only=True)
class TimedRequest:
    """One request; ``answered`` is true if it succeeded, so that it shows the engine's pace."""

    answered: bool = False
