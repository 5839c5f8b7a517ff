"""Records of adapters or versions that are not registered yet: held in memory until they are.

A version often answers before it is registered: an engine lists it seconds after it loaded it, and
people register theirs by hand. What was sent before waits here for its name.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Final, NamedTuple

import msgspec
import structlog

from monitor.capture.directory import Sender
from monitor.capture.wire import Record

_LOG: Final = structlog.get_logger(__name__)

MOST_BYTES: Final = 16 * 1024 * 1024
MOST_NAMES: Final = 1_000
"""Of all senders. More at once are no versions to come, but a sender that makes names up."""
AT_ONCE: Final = 100
"""Records taken together: the queue of writes may be short."""
LOOK_EVERY: Final = 5.0
"""Seconds between two looks for names that are registered now."""


class RecordNames(NamedTuple):
    """The names that a record gives, which together find its version."""

    adapter: str
    version: str | None
    arm: str | None


@dataclass(slots=True)
class _Group:
    """The records of one sender for one name, oldest first: when each came, and its bytes."""

    sender: Sender
    records: deque[tuple[float, bytes]] = field(default_factory=deque)


_Key = tuple[str, RecordNames]
_DECODER: Final = msgspec.msgpack.Decoder(Record)


class HeldRecords:
    """Holds records in bounded memory, and lets them in once their names are registered.

    They are never written to disk, since they may carry prompts; when the process ends they are
    lost, and the log says how many.

    Parameters
    ----------
    hold
        How long a record waits at most; zero: none is held.
    is_registered
        Whether records of these names can be taken from this sender now.
    take
        Takes records of one sender; where it raises, they wait for the next look.
    """

    def __init__(
        self,
        *,
        hold: timedelta,
        is_registered: Callable[[RecordNames, Sender], bool],
        take: Callable[[Sequence[Record], Sender], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hold = hold.total_seconds()
        self._is_registered = is_registered
        self._take = take
        self._monotonic = monotonic
        self._groups: dict[_Key, _Group] = {}
        self._bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="held-records", daemon=True)

    def start(self) -> None:
        """Start the looks."""
        self._thread.start()

    def close(self, *, timeout: float) -> None:
        """End the looks, within ``timeout`` seconds; what still waits is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        if lost := sum(self.waiting().values()):
            _LOG.warning("held_records_lost", records=lost, reason="the process ends")

    def hold(self, record: Record, sender: Sender) -> bool:
        """Hold a record; False if there is no room, or nothing is held at all."""
        body = msgspec.msgpack.encode(record)  # JSON has no NaN, which a failing model sends
        key = sender.name, RecordNames(record.adapter, record.version, record.arm)
        with self._changed:
            is_new = key not in self._groups
            full = self._bytes + len(body) > MOST_BYTES
            if self._closing or not self._hold or full or len(self._groups) + is_new > MOST_NAMES:
                return False
            if is_new:
                self._groups[key] = _Group(sender)
                _LOG.warning(
                    "records_held",
                    adapter=record.adapter,
                    version=record.version,
                    reason=_why(sender),
                    seconds=self._hold,
                )
            self._groups[key].records.append((self._monotonic(), body))
            self._bytes += len(body)
            self._changed.notify_all()
        return True

    def waiting(self) -> Mapping[str, int]:
        """Return how many records wait, by adapter."""
        counts: dict[str, int] = {}
        with self._changed:
            for (_, wanted), group in self._groups.items():
                counts[wanted.adapter] = counts.get(wanted.adapter, 0) + len(group.records)
        return counts

    def look(self) -> None:
        """Drop what has waited for too long, and let in what is registered now.

        What cannot be taken waits for the next look; it keeps no other name waiting.
        """
        with self._changed:
            keys = list(self._groups)
        for key in keys:
            self._drop_old(key)
        for key in keys:
            try:
                self._let_in(key)
            except Exception as error:  # noqa: BLE001 (one name of the loop)
                _LOG.warning("held_records_not_taken", **_named(key), error=type(error).__name__)

    def _run(self) -> None:
        while self._wait():
            self.look()

    def _wait(self) -> bool:
        """Sleep until something is held, and then until the next look; False once it ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._groups or self._closing)
            self._changed.wait_for(lambda: self._closing, LOOK_EVERY)
            return not self._closing

    def _let_in(self, key: _Key) -> None:
        while not self._closing and (part := self._oldest(key)):
            sender, bodies = part
            if not self._is_registered(key[1], sender):
                return
            self._take([_DECODER.decode(body) for body in bodies], sender)
            with self._changed:
                self._remove(key, len(bodies))
            _LOG.info("held_records_taken", **_named(key), records=len(bodies))

    def _oldest(self, key: _Key) -> tuple[Sender, list[bytes]] | None:
        """Return the first of a group; they stay until they are taken."""
        with self._changed:
            group = self._groups.get(key)
            if group is None:
                return None
            return group.sender, [body for _, body in islice(group.records, AT_ONCE)]

    def _drop_old(self, key: _Key) -> None:
        oldest = self._monotonic() - self._hold
        with self._changed:
            group = self._groups.get(key)
            old = sum(at < oldest for at, _ in group.records) if group else 0
            self._remove(key, old)
        if group and old:
            why = _why(group.sender)
            _LOG.warning("held_records_lost", **_named(key), records=old, reason=why)

    def _remove(self, key: _Key, count: int) -> None:
        group = self._groups.get(key)
        if group is None:
            return
        for _ in range(count):
            _, body = group.records.popleft()
            self._bytes -= len(body)
        if not group.records:
            del self._groups[key]


def _named(key: _Key) -> dict[str, str | None]:
    return {"adapter": key[1].adapter, "version": key[1].version}


def _why(sender: Sender) -> str:
    """Say why the sender's records wait; a key of a team hears less in its answers."""
    return "it is not registered" + (", or the key may not send for it" if sender.match else "")
