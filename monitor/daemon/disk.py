"""Tell people that the database's disk is full, without needing space on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog

from alerts.delivery import DeliveryFailed
from alerts.message import Alert
from alerts.types import Kind, Severity, Status, VerdictKind
from monitor.outbox.channels import ConfiguredChannel
from monitor.store.room import DISK_FULL

_LOG: Final = structlog.get_logger(__name__)

EVERY: Final = timedelta(seconds=2)
CALM: Final = timedelta(minutes=10)
"""Where only refusals reveal a full disk, space must last this long to count: with few requests
there is one refusal a minute."""
AGAIN: Final = timedelta(minutes=1)
"""Pause before a channel that did not accept the page is tried again."""
SUBJECT: Final = "driftline"
"""The name in place of an adapter's, since the page is about the service."""


def now() -> datetime:
    """Read this machine's clock, since the database may not answer."""
    return datetime.now(tz=UTC)


@dataclass(slots=True, kw_only=True)
class DiskPages:
    """Pages once when the disk is full, and tells when there is space again.

    Messages go straight to the channels: the outbox is a table, and has no space for a row.
    A message that a channel did not accept is retried as long as the condition lasts.
    """

    full: Callable[[], bool]
    channels: Sequence[ConfiguredChannel]
    calm: timedelta = CALM
    """Free space must have lasted this long before the end is reported."""
    monotonic: Callable[[], float] = time.monotonic
    _page: Alert | None = None
    _told: set[str] = field(default_factory=set)
    _tried: float = float("-inf")
    _full_at: float = float("-inf")

    def turn(self) -> bool:
        """Look once; return False, since nothing more is due at once."""
        now = self.monotonic()
        if self.full():
            self._full_at = now
            self._tell()
        elif self._page is not None and now - self._full_at >= self.calm.total_seconds():
            self._say_over(self._page)
        return False

    def _tell(self) -> None:
        if self._page is None:
            self._page, self._tried = _alert(now()), float("-inf")
            _LOG.error("disk_full", reason=DISK_FULL)
        if self.monotonic() - self._tried < AGAIN.total_seconds():
            return
        self._tried = self.monotonic()
        for channel in _hearing(self.channels, self._page):
            if channel.name not in self._told and _deliver(channel, self._page):
                self._told.add(channel.name)

    def _say_over(self, page: Alert) -> None:
        over = _alert(page.started_at, of=page.id, over=now())
        for channel in self.channels:
            if channel.name in self._told:
                _deliver(channel, over)
        _LOG.warning("disk_has_room_again", told=sorted(self._told))
        self._page = None
        self._told.clear()


def _hearing(channels: Sequence[ConfiguredChannel], page: Alert) -> Sequence[ConfiguredChannel]:
    """Return the channels that match such a page; all of them if none matches."""
    return [one for one in channels if one.matcher.accepts(page)] or channels


def _deliver(channel: ConfiguredChannel, alert: Alert) -> bool:
    try:
        channel.channel.deliver(alert, str(uuid4()))
    except DeliveryFailed as failure:
        _LOG.warning("disk_page_failed", channel=channel.name, reason=failure.reason)
        return False
    except Exception:  # noqa: BLE001 - one channel of several
        _LOG.exception("disk_page_failed", channel=channel.name)
        return False
    return True


def _alert(at: datetime, *, of: str | None = None, over: datetime | None = None) -> Alert:
    return Alert(
        id=of or f"driftline:disk:{uuid4()}",
        number=1,
        kind=Kind.ERROR,
        adapter=SUBJECT,
        version="service",
        status=Status.STARTED if over is None else Status.RECOVERED,
        severity=Severity.PAGE,
        verdict=VerdictKind.ERROR if over is None else VerdictKind.STABLE,
        summary="The database's disk is full" if over is None else "The disk has room again",
        reason=DISK_FULL if over is None else "records are taken in again",
        at=over or at,
        started_at=at,
        recovered_at=over,
    )
