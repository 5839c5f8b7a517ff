"""Send records in batches from a thread; nothing here delays or breaks its caller."""

from __future__ import annotations

import atexit
import gzip
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakSet

WAITING: Final = 10_000
"""Records that may wait; more are dropped and counted."""
BATCH: Final = 500
EVERY: Final = 1.0
"""Seconds that a record waits for others."""
AT_EXIT: Final = 2.0
"""Seconds that the end of the interpreter waits for what is not sent yet."""

_LOG: Final = logging.getLogger("driftline.client")
_LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a batch before compression, half of what the service takes."""
_TIMEOUT: Final = 30.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_LATER: Final = frozenset({408, 429})
_FAULT: Final = 500
_MOST_SAID: Final = 3


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key is for the address that was given."""

    def redirect_request(self, *_given: Any) -> None:
        """Leave the redirect as the answer."""


_OPENER: Final = urllib.request.build_opener(_Stay)


class RecordSender:
    """A bounded queue of records and the thread that sends them.

    ``counts`` says what became of them. The service says ``accepted``, ``duplicates``,
    ``sampled_out``, ``held`` (until their version is registered) and ``rejected``. ``refused`` are
    those of a whole request, ``dropped`` found no room, and ``unread`` are calls that could not be
    read, or whose stream was left before its end.

    Parameters
    ----------
    url, key
        The service's address and a key with ``ingest``; ``DRIFTLINE_URL`` and ``DRIFTLINE_KEY`` of
        the environment if they are not given.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, waiting: int = WAITING
    ) -> None:
        self._url = (url or os.environ.get("DRIFTLINE_URL", "")).rstrip("/")
        self._key = key or os.environ.get("DRIFTLINE_KEY", "")
        if not self._url.startswith(("http://", "https://")):
            raise ValueError(
                "say where Driftline is: url=, or DRIFTLINE_URL, with http:// before it"
            )
        self._most = waiting
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._under_way = 0
        self._left = 0
        """Records that waited when it was closed, and were dropped."""
        self._closing = False
        self._process = 0
        self.counts: dict[str, int] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Let a record wait to be sent, or drop and count it."""
        try:
            line = json.dumps(record).encode()
        except (TypeError, ValueError):
            self.count("unread")
            return
        with self._changed:
            if self._closing or not self._begun() or len(self._waiting) >= self._most:
                self._add("dropped", 1)
                return
            self._waiting.append(line)
            self._changed.notify_all()

    def count(self, outcome: str, number: int = 1) -> None:
        """Count what became of records."""
        with self._changed:
            self._add(outcome, number)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything is sent; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._under_way, timeout
            )

    def close(self, timeout: float = 10.0) -> bool:
        """Send what waits, and take no more; False if some was dropped or is still under way.

        A batch that fails is not tried again: it is dropped and counted, as is what still waits
        after ``timeout`` seconds.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        done = self.flush(timeout)
        with self._changed:
            self._leave(len(self._waiting))
            self._waiting.clear()
            self._changed.notify_all()
            return done and not self._left

    def runs_here(self) -> bool:
        """True if a thread of this process sends; a forked process has none of its parent's."""
        return self._process == os.getpid()

    def _begun(self) -> bool:
        """Start the thread with the first record, and again in a forked process."""
        if not self.runs_here():
            self._under_way = 0
            try:
                threading.Thread(target=self._run, name="driftline-client", daemon=True).start()
            except RuntimeError:  # there are too many, or the interpreter ends
                return False
            self._process = os.getpid()
            _SENDERS.add(self)
        return True

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                if not self._closing and len(self._waiting) < BATCH:
                    self._changed.wait_for(
                        lambda: self._closing or len(self._waiting) >= BATCH, EVERY
                    )
                batch = self._taken()
            again = self._sent(batch)
            with self._changed:
                if again is not None and not self._closing:
                    self._waiting.extendleft(reversed(batch))
                elif again is not None:
                    self._leave(len(batch))
                self._under_way = 0
                self._changed.notify_all()
                pause = 0.0 if again is None else min(_LONGEST_PAUSE, max(again, 2 * pause))
                if pause:
                    self._changed.wait_for(lambda: self._closing, pause * random.uniform(0.7, 1.3))  # noqa: S311 (jitter)

    def _taken(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < BATCH:
            size += len(self._waiting[0])
            if batch and size > _LARGEST:
                break
            batch.append(self._waiting.popleft())
        self._under_way = len(batch)
        return batch

    def _sent(self, batch: list[bytes]) -> float | None:
        """Send a batch; return None when it is settled, else the seconds to wait first."""
        request = urllib.request.Request(  # noqa: S310 (its scheme was checked)
            f"{self._url}/v1/records",
            data=gzip.compress(b"\n".join(batch), compresslevel=1),
            headers={
                "Authorization": f"Bearer {self._key}",
                "Content-Type": "application/x-ndjson",
                "Content-Encoding": "gzip",
            },
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT) as reply:
                self._settle(json.load(reply), len(batch))
        except urllib.error.HTTPError as error:
            with error:
                return self._put_off(error, len(batch))
        except Exception as error:  # noqa: BLE001 (one batch of the loop: it is sent again)
            _LOG.warning("driftline takes no records: %s", type(error).__name__)
            return _FIRST_PAUSE
        return None

    def _settle(self, outcome: Mapping[str, Any], sent: int) -> None:
        refused = outcome.get("rejected") or []
        with self._changed:
            for name in ("accepted", "duplicates", "sampled_out"):
                self._add(name, int(outcome.get(name) or 0))
            self._add("rejected", min(len(refused), sent))
            self._add("held", min(len(outcome.get("held") or []), sent))
        for one in refused[:_MOST_SAID]:
            _LOG.error("driftline rejects a record: %s", one.get("error"))

    def _put_off(self, error: urllib.error.HTTPError, size: int) -> float | None:
        if error.code in _LATER or error.code >= _FAULT:
            _LOG.warning("driftline takes no records: status %d", error.code)
            wait = error.headers.get("Retry-After") or ""
            return float(wait) if wait.isdigit() else _FIRST_PAUSE
        self.count("refused", size)
        _LOG.error("driftline refuses records: status %d, %d dropped", error.code, size)
        return None

    def _leave(self, number: int) -> None:
        self._left += number
        self._add("dropped", number)

    def _add(self, outcome: str, number: int) -> None:
        if number:
            self.counts[outcome] = self.counts.get(outcome, 0) + number


_SENDERS: Final = WeakSet[RecordSender]()


@atexit.register
def _close_all() -> None:
    """Send what still waits when the interpreter ends, of all senders within ``AT_EXIT``."""
    until = time.monotonic() + AT_EXIT
    for sender in [one for one in _SENDERS if one.runs_here()]:
        if not sender.close(max(0.0, until - time.monotonic())):
            _LOG.warning("driftline did not take all records before the process ended")
