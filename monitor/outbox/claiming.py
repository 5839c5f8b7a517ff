"""Claim the messages that may be sent now: those that are due, at each channel's pace."""

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
from monitor.store.database import Database
from monitor.store.incidents import outbox
from monitor.store.incidents.outbox import Claimed

AHEAD: Final = timedelta(seconds=0.5)
MOST_AHEAD: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stocked:
    """A claimed message that is not sent yet; ``at`` is a time of the monotonic clock."""

    claimed: Claimed
    at: float


class Claims:
    """The claims of one thread; messages that a receiver cannot take yet stay in the outbox.

    No thread waits with such a message and no attempt is counted, so a burst for a slow receiver
    delays no other channel's messages. The pace is per process: several daemons add up.

    Each claim costs a commit. While messages go through fast, the thread also claims those of the
    next half second; where nothing goes through, it claims nothing ahead. A message that has waited
    here for half of its lease is given back.
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
        """Note that a receiver took a message. Callable from any thread."""
        self._finished.append(self._clock())

    def take(self, limit: int) -> list[Claimed]:
        """Return up to ``limit`` messages that may be sent now."""
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
        """Give back the messages that were claimed ahead, as if nobody had claimed them."""
        while self._stock:
            self._give_back(self._stock.popleft().claimed)

    def _ahead(self) -> int:
        """Expect as many messages in the next half second as were delivered in the last."""
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
