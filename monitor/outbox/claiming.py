"""Which messages may be sent now: what is due, at each channel's pace."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from alerts.pacing import Bucket
from monitor.outbox.channels import ConfiguredChannel
from monitor.store import outbox
from monitor.store.database import Database
from monitor.store.outbox import Claimed

AHEAD: Final = timedelta(seconds=0.5)
MOST_AHEAD: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stocked:
    """A message that is claimed and not sent yet; ``at`` on the monotonic clock."""

    claimed: Claimed
    at: float


class Claims:
    """Claims for one thread; what a receiver cannot take yet waits in the outbox.

    No thread waits with it, and no attempt is counted: a burst for a slow receiver holds up
    nobody else's messages. The pace is this process's: several daemons add up.

    Each claim costs a commit, so while messages go through fast, those of the next half
    second are claimed with the ones that may be sent now; where nothing goes through,
    nothing is claimed ahead. What has waited here for half of its lease is given back.
    """

    def __init__(
        self,
        database: Database,
        channels: Sequence[ConfiguredChannel],
        *,
        lease: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lease = lease
        self._clock = clock
        self._unpaced = [channel.name for channel in channels if channel.pace is None]
        self._buckets = {one.name: Bucket(one.pace) for one in channels if one.pace is not None}
        self._stock: deque[_Stocked] = deque()
        self._finished: deque[float] = deque(maxlen=MOST_AHEAD)

    def finished(self) -> None:
        """Note that a receiver took a message. From any thread."""
        self._finished.append(self._clock())

    def take(self, limit: int) -> list[Claimed]:
        """Give up to ``limit`` messages that may be sent now."""
        if len(self._stock) < limit:
            at = self._clock()
            found = self._claims(limit - len(self._stock) + self._ahead())
            self._stock.extend(_Stocked(claimed=one, at=at) for one in found)
        given: list[Claimed] = []
        while self._stock and len(given) < limit:
            one = self._stock.popleft()
            if self._clock() - one.at < self._lease.total_seconds() / 2:
                given.append(one.claimed)
            else:
                self._give_back(one.claimed)
        return given

    def clear(self) -> None:
        """Give back what was claimed ahead, as if nobody had."""
        while self._stock:
            self._give_back(self._stock.popleft().claimed)

    def _ahead(self) -> int:
        """How many went through in the last half second: so many go through in the next."""
        since = self._clock() - AHEAD.total_seconds()
        return sum(at >= since for at in tuple(self._finished))

    def _claims(self, limit: int) -> list[Claimed]:
        claimed: list[Claimed] = []
        for name, bucket in self._buckets.items():
            if (free := min(limit - len(claimed), bucket.free)) > 0:
                mine = self._claim([name], free)
                bucket.take(len(mine))
                claimed += mine
        if self._unpaced and len(claimed) < limit:
            claimed += self._claim(self._unpaced, limit - len(claimed))
        return claimed

    def _claim(self, names: list[str], limit: int) -> list[Claimed]:
        def work(tx: Connection) -> list[Claimed]:
            return outbox.claim(tx, channels=names, limit=limit, lease=self._lease)

        return self._database.run(work)

    def _give_back(self, claimed: Claimed) -> None:
        self._database.run(lambda tx: outbox.give_back(tx, claimed))
