"""A dead man's switch: a ping to an outside service while everything works.

That service alerts people when pings stop. So a ping means that everything on the way to a page
works: the clock ticks, evaluations finish, messages leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import structlog
from sqlalchemy import Connection

from alerts.outgoing import OutgoingClient, OutgoingError, redacted
from monitor.config.sections import HeartbeatSection
from monitor.store import backlog
from monitor.store.database import Database
from monitor.store.incidents import receivers
from monitor.store.traffic import pending_decisions

_LOG = structlog.get_logger(__name__)

SILENT_CLOCK: Final = timedelta(seconds=30)
"""A clock without ticks for this long has stopped."""


class Heartbeat:
    """Pings, or logs why not; a loop calls :meth:`turn`.

    Parameters
    ----------
    ticked, told
        When the scheduler last ticked, and when waiting messages were last looked at, on the
        monotonic clock.
    """

    def __init__(
        self,
        database: Database,
        client: OutgoingClient,
        settings: HeartbeatSection,
        *,
        ticked: Callable[[], float],
        told: Callable[[], float],
    ) -> None:
        self._database = database
        self._client = client
        self._settings = settings
        self._ticked = ticked
        self._told = told

    def turn(self) -> bool:
        """Ping once if nothing is wrong; return False, since nothing more is due at once."""
        if reasons := self.reasons():
            _LOG.warning("heartbeat_withheld", reasons=reasons)
            return False
        target = redacted(self._settings.url)
        try:
            reply = self._client.get(self._settings.url)
        except OutgoingError as error:
            _LOG.warning("heartbeat_failed", target=target, reason=str(error))
            return False
        if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
            _LOG.warning("heartbeat_failed", target=target, reason=f"answered {reply.status}")
        return False

    def reasons(self) -> list[str]:
        """Return the reasons not to ping; empty if everything works."""
        return [*self._stopped(), *self._database.run(lambda tx: list(self._stored(tx)))]

    def _stopped(self) -> Iterator[str]:
        now = time.monotonic()
        if (silence := now - self._ticked()) > SILENT_CLOCK.total_seconds():
            yield f"the scheduler has not ticked for {silence:.0f} s"
        if (unseen := now - self._told()) > self._settings.oldest.total_seconds():
            yield f"messages that wait have not been looked at for {unseen:.0f} s"

    def _stored(self, tx: Connection) -> Iterator[str]:
        oldest = self._settings.oldest
        if not backlog.evaluations_go_on(tx, within=oldest):
            yield f"no evaluation has finished for {oldest}"
        undecided = pending_decisions.longest_seconds(tx)
        if undecided > oldest.total_seconds():
            yield f"a decision about traffic has waited for {undecided:.0f} s"
        waited = receivers.oldest_seconds(tx)
        if waited > oldest.total_seconds():
            yield f"a message has not been delivered for {waited:.0f} s"
