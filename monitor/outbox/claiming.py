"""Which messages may be sent now: what is due, at each channel's pace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection

from alerts.pacing import Bucket
from monitor.outbox.channels import ConfiguredChannel
from monitor.store import outbox
from monitor.store.database import Database
from monitor.store.outbox import Claimed


class Claims:
    """Claims for one thread; what a receiver cannot take yet waits in the outbox.

    No thread waits with it, and no attempt is counted: a burst for a slow receiver holds up
    nobody else's messages. The pace is this process's: several daemons add up.
    """

    def __init__(
        self, database: Database, channels: Sequence[ConfiguredChannel], *, lease: timedelta
    ) -> None:
        self._database = database
        self._lease = lease
        self._unpaced = [channel.name for channel in channels if channel.pace is None]
        self._buckets = {one.name: Bucket(one.pace) for one in channels if one.pace is not None}

    def take(self, limit: int) -> list[Claimed]:
        """Claim up to ``limit`` messages."""
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
