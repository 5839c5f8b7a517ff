"""What keeps a probe from hurting serving.

One engine is asked by one probe at a time. An engine that failed a probe is left alone
for 5 minutes, then 10, 20 … up to an hour, until a probe went well again; the others are
left alone as well for a while, because what broke one may break the next. Probes take at
most a share of an engine's time. All of it is remembered by this process only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.probes.errors import ProbeFailed

SHARE: Final = 0.1
FIRST_PAUSE: Final = 300.0
LONGEST_PAUSE: Final = 3600.0
LONGEST_OBEYED: Final = 86_400.0
"""Seconds of ``Retry-After`` that are believed."""
_PATIENCE: Final = 600.0
"""Seconds that a probe waits for another one to end."""
_SAVED: Final = 3600.0
"""Seconds over which an unused share adds up."""


@dataclass(slots=True, kw_only=True)
class Pause:
    """How long something is left alone, and why. Times on the monotonic clock."""

    failures: int = 0
    until: float = 0.0
    because: str = ""

    def grow(self, because: str, *, at: float) -> None:
        """Pause twice as long as last time, at most an hour."""
        length = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self.failures)
        self.failures = min(self.failures + 1, 16)
        self.obey(because, length, at=at)

    def obey(self, because: str, length: float, *, at: float) -> None:
        """Pause for a given time; a longer pause under way goes on."""
        if at + length > self.until:
            self.until, self.because = at + length, because

    def end(self) -> None:
        """Forget what was."""
        self.failures, self.until = 0, 0.0


@dataclass(slots=True, kw_only=True)
class Allowance:
    """Seconds that probes may still take of an engine's time: they grow by ``share`` a second.

    A probe that has begun ends, so the rest may fall below 0; the next one waits longer.
    """

    share: float
    left: float
    at: float

    def refill(self, at: float) -> float:
        """Add what has grown since, at most an hour's, and give what is left."""
        self.left = min(_SAVED * self.share, self.left + max(0.0, at - self.at) * self.share)
        self.at = at
        return self.left


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Seconds to count with, and the time of day for words."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now

    def time(self, ahead: float = 0.0) -> str:
        """Write the time of day, ``ahead`` seconds from now."""
        return f"{self.now() + timedelta(seconds=ahead):%H:%M} UTC"


class Restraint:
    """A keeper for each engine, and a pause for all of them. Safe to share by threads.

    Parameters
    ----------
    share
        Share of each engine's time that probes may take, in (0, 1].
    """

    def __init__(self, *, share: float = SHARE, clocks: Clocks | None = None) -> None:
        self._share = share
        self._clocks = clocks or Clocks()
        self._lock = threading.Lock()
        self._keepers: dict[str, Keeper] = {}
        self._everyone = Pause()

    def of(self, url: str) -> Keeper:
        """Give an engine's keeper, always the same one."""
        with self._lock:
            if url not in self._keepers:
                self._keepers[url] = Keeper(
                    share=self._share,
                    everyone=self._everyone,
                    lock=self._lock,
                    clocks=self._clocks,
                )
            return self._keepers[url]


class Keeper:
    """Says when one engine may be asked, and remembers how it went."""

    def __init__(
        self, *, share: float, everyone: Pause, lock: threading.Lock, clocks: Clocks
    ) -> None:
        self._everyone = everyone
        self._lock = lock
        self._clocks = clocks
        self._pause = Pause()
        self._allowance = Allowance(share=share, left=_SAVED * share, at=clocks.monotonic())
        self._turn = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Be the only probe of the engine; a turn that went well ends its pauses.

        Raises
        ------
        ProbeFailed
            The engine must not be asked now, or another probe of it does not end.
        """
        if not self._turn.acquire(timeout=_PATIENCE):
            raise ProbeFailed("another probe of the engine goes on", permanent=False, asked=False)
        try:
            if (refusal := self.refusal()) is not None:
                raise ProbeFailed(refusal, permanent=False, asked=False)
            turn = Turn(self)
            yield turn
            if turn.went_well:
                self._went_well()
        finally:
            self._turn.release()

    def refusal(self) -> str | None:
        """Say why the engine must not be asked now; None where it may be."""
        at = self._clocks.monotonic()
        with self._lock:
            for who, pause in (("the", self._pause), ("another", self._everyone)):
                if at < pause.until:
                    until = self._clocks.time(pause.until - at)
                    return f"{who} engine {pause.because}; not asked again until {until}"
            left, share = self._allowance.refill(at), self._allowance.share
        if left > 0:
            return None
        until = self._clocks.time(-left / share + 1.0)
        return (
            f"probes have had their share of the engine's time ({share:.0%}); "
            f"not asked again until {until}"
        )

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count the time that one request takes."""
        began = self._clocks.monotonic()
        try:
            yield
        finally:
            seconds = self._clocks.monotonic() - began
            with self._lock:
                self._allowance.left -= seconds

    def failed(self, what: str) -> None:
        """Leave the engine alone, longer each time, and the others for a while."""
        at = self._clocks.monotonic()
        because = f"failed a probe at {self._clocks.time()} ({what})"
        with self._lock:
            self._pause.grow(because, at=at)
            self._everyone.grow(because, at=at)

    def sent_away(self, what: str, *, seconds: float | None) -> None:
        """Leave the engine alone for as long as it said."""
        at = self._clocks.monotonic()
        because = f"asked at {self._clocks.time()} to be left alone ({what})"
        length = FIRST_PAUSE if seconds is None else min(seconds, LONGEST_OBEYED)
        with self._lock:
            self._pause.obey(because, length, at=at)

    def _went_well(self) -> None:
        at = self._clocks.monotonic()
        with self._lock:
            self._pause.end()
            # a turn that was under way when another engine broke says nothing of what broke it
            if at >= self._everyone.until:
                self._everyone.end()


class Turn:
    """One probe's time with an engine."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._answered = False
        self._trouble = False

    @property
    def went_well(self) -> bool:
        """Whether the engine answered, and never failed or sent the probe away."""
        return self._answered and not self._trouble

    def request(self) -> AbstractContextManager[None]:
        """Count the time that one request takes."""
        return self._keeper.request()

    def answered(self) -> None:
        """Note that the engine did what it was asked."""
        self._answered = True

    def failed(self, what: str) -> None:
        """Note that the engine broke or fell silent over a probe."""
        self._trouble = True
        self._keeper.failed(what)

    def sent_away(self, what: str, *, seconds: float | None) -> None:
        """Note that the engine has no time; ``seconds`` is for how long, if it said."""
        self._trouble = True
        self._keeper.sent_away(what, seconds=seconds)
