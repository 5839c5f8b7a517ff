"""The addresses of engines: as they are written, of a file that is read again, or of a name.

Replicas come and go without a restart: ``file:///etc/engines`` stands for the addresses on the
file's lines, ``dns+http://engines.models.svc:8000`` for all addresses of the name,
``dns+http://_http._tcp.engines.models.svc`` for hosts and ports of its SRV records
(:mod:`monitor.srv`), and ``kubernetes+http://vllm.models:8000`` for the ready endpoints of a
Service (:mod:`monitor.kubernetes`).
"""

from __future__ import annotations

import ipaddress
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import structlog

from monitor import srv
from monitor.addresses import BY_NAME, IN_CLUSTER, IN_FILE, address_fault, is_list, is_service
from monitor.kubernetes import ClusterError, known_now, watch_of

_LOG: Final = structlog.get_logger(__name__)

NO_ADDRESS: Final = "no address of an engine is known"
LOOK_EVERY: Final = 10.0
"""Seconds between two looks at a file or name."""
LARGEST_FILE: Final = 1024 * 1024


class EngineAddresses:
    """The engines' addresses now; threads may share it.

    A file or name that gives none, or cannot be read, keeps those that it gave before.
    """

    def __init__(
        self,
        written: Iterable[str],
        *,
        hosts_of: Callable[[str, int], Sequence[str]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._written = tuple(dict.fromkeys(written))
        self._hosts_of = hosts_of or _hosts_of
        self._monotonic = monotonic
        lists = filter(is_list, self._written)
        self._lists: dict[str, tuple[str, ...]] = dict.fromkeys(lists, ())
        self._faults = dict.fromkeys(self._lists, "")
        self._due = -math.inf
        self._looking = threading.Lock()

    @property
    def fixed(self) -> bool:
        """True if they never change."""
        return not self._lists

    def fault_of(self, written: str) -> str:
        """Say what was wrong with a list at the last look; "" where it was sound."""
        return self._faults.get(written, "")

    def now(self) -> tuple[str, ...]:
        """Return the addresses without a final slash or ``/v1``, each once.

        Callers wait for files and names only if these were not looked up for twice
        :data:`LOOK_EVERY`. Before that they are looked up beside them: a name server may take long.
        """
        if self._lists and (late := self._monotonic() - self._due) >= 0.0:
            if late < LOOK_EVERY:
                self._look_beside()
            else:
                self.look()
        every = (one for written in self._written for one in self._known(written))
        return tuple(dict.fromkeys(one.rstrip("/").removesuffix("/v1") for one in every))

    def _known(self, written: str) -> Sequence[str]:
        """Return what an address stands for; endpoints of a cluster as they are at this moment."""
        if written not in self._lists:
            return (written,)
        now = known_now(written) if written.startswith(IN_CLUSTER) else ()
        return now or self._lists[written]

    def look(self) -> None:
        """Look the lists up, unless they are fresh; waits for a look that goes on."""
        with self._looking:
            if self._monotonic() >= self._due:
                self._look()

    def _look_beside(self) -> None:
        if self._looking.locked():
            return
        thread = threading.Thread(target=self.look, name="engine-addresses", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # too many threads: what is known stays
            _LOG.warning("engines_not_looked_up", error=str(error))

    def _look(self) -> None:
        try:
            self._look_at_each()
        finally:
            self._due = self._monotonic() + LOOK_EVERY

    def _look_at_each(self) -> None:
        for written, known in self._lists.items():
            try:
                found, fault = self._of(written)
            except (OSError, ValueError, ClusterError) as error:
                found, fault = (), f"{type(error).__name__}: {error}"
            if not found:
                fault = fault or "it gives no address"
            elif set(found) != set(known):
                came, gone = set(found) - set(known), set(known) - set(found)
                _LOG.info("engines_changed", source=written, came=_hosts(came), gone=_hosts(gone))
            self._lists[written] = found or known
            if fault and fault != self._faults[written]:
                _LOG.warning("engines_not_found", source=written, reason=fault, kept=len(known))
            self._faults[written] = fault

    def _of(self, written: str) -> tuple[tuple[str, ...], str]:
        """Return the addresses, and what is wrong with the list; "" where it is sound."""
        if written.startswith(IN_FILE):
            return _lines(Path(unquote(urlsplit(written).path)))
        if written.startswith(IN_CLUSTER):
            watch = watch_of(written)
            return watch.addresses(), watch.fault
        parts = urlsplit(written.removeprefix(BY_NAME))
        name, port = parts.hostname or "", parts.port or 80
        if is_service(name):
            places = srv.listed(name)
        else:
            places = [(host, port) for host in self._hosts_of(name, port)]
        return tuple(
            f"http://{f'[{host}]' if ':' in host else host}:{port}{parts.path}"
            for host, port in places
        ), ""


def _hosts(addresses: Iterable[str]) -> list[str]:
    return sorted(urlsplit(one).netloc for one in addresses)


def _hosts_of(host: str, port: int) -> Sequence[str]:
    """Return a name's IPv4 addresses, or its IPv6 ones: a replica may have one of each."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    every = {str(place[0]) for *_, place in found if "%" not in str(place[0])}
    of_four = {one for one in every if ipaddress.ip_address(one).version == 4}  # noqa: PLR2004
    return sorted(of_four or every)


def _lines(path: Path) -> tuple[tuple[str, ...], str]:
    """Read the addresses on a file's lines; others are named by number, since it may be secret."""
    if not path.is_file():
        return (), f"{path} is no file"
    with path.open("rb") as file:
        body = file.read(LARGEST_FILE + 1)
    if len(body) > LARGEST_FILE:
        return (), f"{path} is larger than {LARGEST_FILE:,} bytes"
    lines = body.decode("utf-8-sig").splitlines()
    written = {n: line.partition("#")[0].strip() for n, line in enumerate(lines, start=1)}
    sound = {n: address_fault(one) is None for n, one in written.items() if one}
    refused = [str(n) for n, is_sound in sound.items() if not is_sound]
    found = tuple(written[n] for n, is_sound in sound.items() if is_sound)
    return found, f"no address on line {', '.join(refused[:10])}" if refused else ""
