"""The addresses of engines: as they are written, of a file that is read again, or of a name.

Replicas come and go without a restart: ``file:///etc/engines`` stands for the addresses on the
file's lines, ``dns+http://engines.models.svc:8000`` for all addresses of the name, such as those of
a headless service of Kubernetes.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

from monitor.domain import is_web_address

_LOG: Final = structlog.get_logger(__name__)

LOOK_EVERY: Final = 10.0
"""Seconds between two looks at a file or name."""
LARGEST_FILE: Final = 1024 * 1024
_DNS: Final = "dns+"
_FILE: Final = "file://"


def is_list(address: str) -> bool:
    """True if it stands for any number of addresses.

    >>> is_list("dns+http://engines:8000"), is_list("http://engines:8000")
    (True, False)
    """
    return address.startswith((_DNS, _FILE))


def list_fault(address: str) -> str | None:
    """Say what is wrong with an address for which :func:`is_list` is true."""
    if address.startswith(_FILE):
        parts = urlsplit(address)
        sound = parts.netloc in {"", "localhost"} and parts.path.startswith("/")
        return None if sound else f"expected file:/// and an absolute path, got {address!r:.100}"
    named = address.removeprefix(_DNS)
    if named.startswith("https:"):
        return "a name's addresses are asked by http: certificates name hosts, not addresses"
    return address_fault(named)


def address_fault(address: str) -> str | None:
    """Say what is wrong with an address, without quoting one that may hold a secret."""
    if "@" in address:
        return "an address carries no credentials; give them as a key"
    if not is_web_address(address):
        return f"expected an address such as http://10.0.3.7:8000, got {address!r:.100}"
    parts = urlsplit(address)
    if parts.query or parts.fragment:
        return f"{address!r:.100}: an address has no ? and no #"
    return None


class EngineAddresses:
    """The engines' addresses now; threads may share it.

    A file or name that gives none, or cannot be read, keeps those that it gave before.
    """

    def __init__(
        self,
        written: Iterable[str],
        *,
        addresses_of: Callable[[str, int], Sequence[str]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._written = tuple(dict.fromkeys(written))
        self._addresses_of = addresses_of or _addresses_of
        self._monotonic = monotonic
        self._lists: dict[str, tuple[str, ...]] = {one: () for one in self._written if is_list(one)}
        self._faults: dict[str, str] = {}
        self._due = monotonic()
        self._looking = threading.Lock()

    @property
    def fixed(self) -> bool:
        """True if they never change."""
        return not self._lists

    def now(self) -> tuple[str, ...]:
        """Return the addresses without a final slash or ``/v1``, each once.

        Reads files and asks for names at most every ten seconds, in one thread at a time; others
        get what is known.
        """
        if self._lists and self._monotonic() >= self._due and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._due = self._monotonic() + LOOK_EVERY
                self._looking.release()
        every = (one for written in self._written for one in self._lists.get(written, (written,)))
        return tuple(dict.fromkeys(one.rstrip("/").removesuffix("/v1") for one in every))

    def _look(self) -> None:
        for written, known in self._lists.items():
            try:
                found = self._of(written)
            except (OSError, ValueError) as error:
                self._fault(written, f"{type(error).__name__}: {error}")
                continue
            if not found:
                self._fault(written, "it gives no address")
                continue
            self._faults.pop(written, None)
            self._lists[written] = found
            if set(found) != set(known):
                came, gone = sorted(set(found) - set(known)), sorted(set(known) - set(found))
                _LOG.info("engines_changed", source=written, came=came, gone=gone)

    def _fault(self, written: str, reason: str) -> None:
        """Log a reason when it is new."""
        if self._faults.get(written) != reason:
            _LOG.warning(
                "engines_not_found", source=written, reason=reason, kept=len(self._lists[written])
            )
        self._faults[written] = reason

    def _of(self, written: str) -> tuple[str, ...]:
        if written.startswith(_FILE):
            return _lines(Path(urlsplit(written).path))
        parts = urlsplit(written.removeprefix(_DNS))
        port = parts.port or 80
        hosts = self._addresses_of(parts.hostname or "", port)
        return tuple(
            f"http://{f'[{host}]' if ':' in host else host}:{port}{parts.path}" for host in hosts
        )


def _addresses_of(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(place[0]) for *_, place in found})


def _lines(path: Path) -> tuple[str, ...]:
    """Return the addresses on a file's lines; one that is none is logged by its number."""
    with path.open("rb") as file:
        text = file.read(LARGEST_FILE).decode()
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        if address_fault(written) is None:
            found.append(written)
        else:  # never quoted: it may be the wrong file
            _LOG.warning("engine_address_refused", path=str(path), line=number)
    return tuple(found)
