"""Send the messages in the outbox: claim with a lease, send, then mark."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Connection

from alerts.delivery import Channel, Delivered, DeliveryFailed, GroupedChannel
from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from alerts.retry import RetrySchedule, next_attempt
from monitor import tracing
from monitor.outbox.channels import ConfiguredChannel, check_fallbacks
from monitor.outbox.claiming import Claims
from monitor.outbox.linking import PageLinks
from monitor.outbox.stranded import MOST_AT_ONCE, rescue
from monitor.outbox.taken import Taken
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.incidents import escalation, outbox
from monitor.store.incidents.outbox import Claimed
from monitor.store.wakeups import Due

_LOG = structlog.get_logger(__name__)

POISON_DELAY: Final = timedelta(hours=1)
"""How long a message that breaks its channel's code waits, so that others get their turn."""
SWEEP: Final = timedelta(seconds=5)
"""The longest time between looks for overdue messages, while any wait."""
POISON_ATTEMPTS: Final = 24
"""After a day of failed attempts the message becomes a dead letter."""


Rest = Callable[[Due], timedelta]
"""Returns how long to sleep, if nothing else wakes: :meth:`WakeUps.rest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelivererSettings:
    """Settings of the deliverer.

    workers
        Messages in flight at once.
    lease
        How long a claim lasts; must exceed the slowest channel's timeout.
    poll
        The pause between looks for due messages.
    escalate_after_failures, escalate_after
        A channel's fallback is told after this many failures or this much time.
    retries
        When a failed message is tried again.
    pages
        Builds the links in messages to this service's runbooks and images.
    """

    workers: int = 4
    lease: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(seconds=1)
    escalate_after_failures: int = 3
    escalate_after: timedelta = timedelta(minutes=2)
    retries: RetrySchedule = field(default_factory=RetrySchedule)
    pages: PageLinks = field(default_factory=PageLinks)


class Deliverer:
    """A deliverer: at least once, in order within (channel, incident), at each channel's pace.

    One thread claims messages, each message is sent by its own thread, and no transaction is open
    meanwhile. With nothing to do it sleeps for ``poll``, or for as long as ``rest`` returns.

    Any number of deliverers may share a database. If a deliverer dies, its messages are
    due again when their leases end.

    Raises
    ------
    ValueError
        The fallbacks cannot work (see :func:`check_fallbacks`).
    """

    def __init__(
        self,
        database: Database,
        channels: Sequence[ConfiguredChannel],
        *,
        settings: DelivererSettings | None = None,
        rest: Rest | None = None,
    ) -> None:
        check_fallbacks(channels)
        self._database = database
        self._channels = {channel.name: channel for channel in channels}
        self._settings = settings or DelivererSettings()
        self._claims = Claims(database, channels, lease=self._settings.lease)
        self._taken = Taken(database)
        self._rest = rest or (lambda _due: self._settings.poll)
        self._in_flight: dict[UUID, Claimed] = {}
        self._changed = threading.Condition()
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._swept = float("-inf")
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)
        self.last_turn = time.monotonic()
        """When the claiming thread last ran a turn, on the monotonic clock."""

    def start(self) -> None:
        """Deliver messages until :meth:`stop`."""
        self._thread.start()

    def wake(self) -> None:
        """Look for due messages now. Correctness never depends on it."""
        self._due.set()

    def stop(self, timeout: float = 20.0) -> None:
        """Claim nothing more, wait for messages in flight, and give back the rest.

        A message still in flight after ``timeout`` seconds is released: another daemon may send it
        again, under the same id.
        """
        self._stopping.set()
        self._due.set()
        end = time.monotonic() + timeout
        if self._thread.ident is not None:
            self._thread.join(timeout=max(0.0, end - time.monotonic()))
        with self._changed:
            self._changed.wait_for(
                lambda: not self._in_flight, timeout=max(0.0, end - time.monotonic())
            )
            left = list(self._in_flight.values())
        self._claims.clear()
        for claimed in left:
            self._release(claimed)

    def next_due(self) -> timedelta | None:
        """Return the time until a message is due, or may be overdue; None while none waits."""
        left = self._database.run(outbox.next_due)
        return None if left is None else min(left, SWEEP)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.clear()
            self.last_turn = time.monotonic()
            try:
                if not self._turn():
                    self._due.wait(self._rest(self.next_due).total_seconds())
            except Exception:  # noqa: BLE001 - the loop must outlive a lost database
                _LOG.exception("delivery_turn_failed")
                self._due.wait(self._settings.poll.total_seconds())

    def _turn(self) -> bool:
        """Start sending what is due; return True if there may be more at once."""
        self._sweep()
        free = self._settings.workers - len(self._in_flight)
        claimed = self._claims.take(free) if free > 0 else []
        for one in claimed:
            with self._changed:
                self._in_flight[one.id] = one
            threading.Thread(
                target=self._deliver, args=(one,), name=f"delivery-{one.channel}", daemon=True
            ).start()
        return bool(claimed) and len(claimed) == free

    def _release(self, claimed: Claimed) -> None:
        self._database.run(lambda tx: outbox.release(tx, claimed))

    def _deliver(self, claimed: Claimed) -> None:
        try:
            with tracing.span(
                "delivery",
                channel=claimed.channel,
                incident=claimed.incident_id,
                attempt=claimed.attempts,
            ):
                self._attempt(claimed)
        except Exception:  # noqa: BLE001 - one message must not take the others along
            _LOG.exception("delivery_not_recorded", id=str(claimed.id), channel=claimed.channel)
        finally:
            with self._changed:
                self._in_flight.pop(claimed.id, None)
                self._changed.notify_all()
            self._due.set()

    def _attempt(self, claimed: Claimed) -> None:
        channel = self._channels[claimed.channel]
        try:
            alert = self._settings.pages.linked(alert_from_json(claimed.alert))
            tracing.note(kind=alert.kind.value, adapter=alert.adapter, version=alert.version)
            taken = _send(channel.channel, alert, claimed)
        except DeliveryFailed as failure:
            tracing.note(error=type(failure).__name__, status=failure.status)
            self._failed(claimed, failure)
        except Exception as error:  # noqa: BLE001 - a bug in a channel, or an unreadable row
            tracing.note(error=type(error).__name__)
            self._poisoned(claimed, error)
        else:
            tracing.note(outcome="delivered", status=taken.status)
            self._taken.note(claimed.id)
            self._claims.finished()

    def _failed(self, claimed: Claimed, failure: DeliveryFailed) -> None:
        if failure.permanent and claimed.beside:
            self._split(claimed, failure.reason)
            return
        now = datetime.now(tz=UTC)
        again = next_attempt(
            claimed.attempts,
            now,
            rng=random.Random(),  # noqa: S311 (jitter)
            failure=failure,
            schedule=self._settings.retries,
        )
        delay = None if again is None else again - now
        overdue = (
            claimed.attempts >= self._settings.escalate_after_failures
            or claimed.age >= self._settings.escalate_after
        )
        self._put_off(claimed, delay=delay, error=failure.reason, escalate=overdue)
        _LOG.warning(
            "delivery_failed",
            id=str(claimed.id),
            channel=claimed.channel,
            attempts=claimed.attempts,
            reason=failure.reason,
            again_in=None if delay is None else round(delay.total_seconds(), 1),
        )

    def _poisoned(self, claimed: Claimed, error: Exception) -> None:
        """Postpone a message that breaks the channel's code by an hour, and log an error."""
        if claimed.beside:
            self._split(claimed, f"{type(error).__name__} in the channel")
            return
        dead = claimed.attempts >= POISON_ATTEMPTS
        self._put_off(
            claimed,
            delay=None if dead else POISON_DELAY,
            error=f"{type(error).__name__} in the channel",
            escalate=True,
        )
        tracing.note(outcome="poisoned")
        _LOG.error(
            "delivery_poisoned",
            id=str(claimed.id),
            channel=claimed.channel,
            attempts=claimed.attempts,
            error=type(error).__name__,
        )

    def _split(self, claimed: Claimed, error: str) -> None:
        """Retry a refused batch one by one: one bad message must not hold back a page."""
        self._database.run(lambda tx: outbox.split(tx, claimed, error=error))
        tracing.note(outcome="retried")
        _LOG.error(
            "delivery_split",
            id=str(claimed.id),
            channel=claimed.channel,
            messages=1 + len(claimed.beside),
            reason=error,
        )

    def _put_off(
        self, claimed: Claimed, *, delay: timedelta | None, error: str, escalate: bool
    ) -> None:
        fallback = self._channels[claimed.channel].fallback

        def work(tx: Connection) -> bool:
            if delay is not None:
                mine = outbox.postpone(tx, claimed, delay=delay, error=error)
            elif mine := outbox.bury(tx, claimed, error=error):
                _write_down(tx, claimed, error)
            if fallback is not None and (escalate or delay is None):
                escalation.escalate(tx, claimed.id, fallback=fallback)
            return mine

        if self._database.run(work):
            tracing.note(outcome="dead" if delay is None else "retried")

    def _sweep(self) -> None:
        """Escalate overdue messages to fallbacks, and rescue those whose channel is gone."""
        every = min(self._settings.escalate_after, SWEEP).total_seconds()
        if time.monotonic() - self._swept < every:
            return
        self._swept = time.monotonic()
        for channel in self._channels.values():
            self._escalate_overdue(channel)
        known = list(self._channels.values())
        rescued = rescue(self._database, known, after=self._settings.escalate_after)
        if len(rescued) == MOST_AT_ONCE:  # go on at once, but claim what is due in between
            self._swept = float("-inf")
            self._due.set()

    def _escalate_overdue(self, channel: ConfiguredChannel) -> None:
        fallback = channel.fallback
        if fallback is None:
            return
        self._database.run(
            lambda tx: escalation.escalate_overdue(
                tx, channel=channel.name, fallback=fallback, after=self._settings.escalate_after
            )
        )


def _send(channel: Channel, alert: Alert, claimed: Claimed) -> Delivered:
    """Send the claimed messages, as one message where the channel supports it."""
    beside = [alert_from_json(one) for one in claimed.beside]
    if beside and isinstance(channel, GroupedChannel):
        return channel.deliver_together([alert, *beside], str(claimed.id))
    return [channel.deliver(one, str(claimed.id)) for one in (alert, *beside)][-1]


def _write_down(tx: Connection, claimed: Claimed, error: str) -> None:
    audit.append(
        tx,
        actor="driftline",
        act="delivery.dead",
        subject=str(claimed.id),
        details={"channel": claimed.channel, "attempts": claimed.attempts, "error": error},
    )
