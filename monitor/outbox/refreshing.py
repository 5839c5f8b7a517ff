"""Repeat open incidents to receivers that forget them.

The outbox delivers once; this repeats what was delivered, for channels whose receiver takes silence
for an end (:class:`alerts.delivery.Refreshing`). It writes nothing: the next turn makes up for a
failed one, and two daemons that both refresh do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from alerts.delivery import DeliveryFailed, Refreshing
from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.linking import PageLinks
from monitor.store.database import Database
from monitor.store.incidents import outbox
from monitor.store.incidents.outbox import LastTold

_LOG = structlog.get_logger(__name__)

RESOLVED_FOR: Final = timedelta(minutes=5)
"""How long an end is repeated, in case the receiver was restarted meanwhile."""


class Refresher:
    """The refresher of one channel; a loop calls :meth:`turn`."""

    def __init__(
        self, database: Database, name: str, channel: Refreshing, *, pages: PageLinks | None = None
    ) -> None:
        self._database = database
        self._name = name
        self._channel = channel
        self._pages = pages or PageLinks()

    @property
    def every(self) -> timedelta:
        """The wait between two turns."""
        return timedelta(seconds=self._channel.refresh_every)

    def turn(self) -> bool:
        """Send every standing message once; return False, since nothing more is due at once."""
        messages = self._messages()
        if not messages:
            return False
        try:
            self._channel.refresh(messages)
        except DeliveryFailed as failure:
            _LOG.warning(
                "refresh_failed", channel=self._name, alerts=len(messages), reason=failure.reason
            )
        return False

    def _messages(self) -> Sequence[tuple[Alert, str]]:
        told = self._database.run(
            lambda tx: outbox.standing(tx, channel=self._name, ended_within=RESOLVED_FOR)
        )
        found = [(one, self._readable(one)) for one in told]
        # where these differ, the newer message is still on its way
        return [
            (alert, str(one.id)) for one, alert in found if alert and alert.firing == one.is_open
        ]

    def _readable(self, one: LastTold) -> Alert | None:
        try:
            return self._pages.linked(alert_from_json(one.alert))
        except ValueError:
            _LOG.exception("message_unreadable", id=str(one.id), channel=self._name)
            return None


def refreshers(
    database: Database, channels: Sequence[ConfiguredChannel], *, pages: PageLinks
) -> list[Refresher]:
    """Create a refresher for each channel that needs one; ``pages`` builds the links."""
    return [
        Refresher(database, one.name, one.channel, pages=pages)
        for one in channels
        if isinstance(one.channel, Refreshing)
    ]
