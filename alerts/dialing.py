"""Connections that reach only permitted addresses and end on time.

:class:`GuardedBackend` is httpcore's network backend: the place where a name becomes an
address and an address a connection, so nothing can be swapped between check and use.
:class:`DeadlineStream` gives every read, write and handshake only what is left of the
whole request's time; a timeout for each read would let a server drip for ever.

Errors::

    OutgoingError
    ├── Blocked        not permitted: scheme, port, credentials in the URL, address
    ├── TimedOut       the request's total time, or the time to connect, is over
    ├── ConnectFailed  no such name, nobody listens, TLS refused
    └── Broken         the connection broke, or the answer was not HTTP
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore2

from alerts.addresses import Network, reachable

Resolver = Callable[[str, int], Sequence[str]]
"""From (host, port) to numeric addresses, best first; raises OSError when there are none."""


class OutgoingError(Exception):
    """No usable answer. The message names the host at most, never path, query or headers."""


class Blocked(OutgoingError):  # noqa: N818 - the tree reads as outcomes
    """The request is not permitted; nothing was sent."""


class TimedOut(OutgoingError):  # noqa: N818 - named as the outcome it reports
    """The time allowed is over; the request may or may not have been handled."""


class ConnectFailed(OutgoingError):  # noqa: N818 - named as the outcome it reports
    """No connection; nothing was sent."""


class Broken(OutgoingError):  # noqa: N818 - named as the outcome it reports
    """The connection broke or the answer made no sense; it may have been handled."""


class Deadline:
    """A moment on the monotonic clock by which everything must be done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, always positive.

        Raises
        ------
        TimedOut
            None are left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> TimedOut:
        """Build the error for a wait that has used up what was left."""
        return TimedOut(f"no complete answer within {self._seconds:g} s")


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver; the addresses in its order, without repeats."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedBackend(httpcore2.NetworkBackend):
    """Connects to a name only if **every** address behind it is permitted.

    Refusing the name when one address is bad keeps a mixed answer from turning a retry
    into a way in. The addresses that were checked are the ones that are dialled.
    """

    def __init__(
        self,
        *,
        allowed: tuple[Network, ...],
        resolver: Resolver,
        deadline: Deadline,
        connect_timeout: float,
    ) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._deadline = deadline
        self._connect_timeout = connect_timeout

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline rules
        local_address: str | None = None,  # noqa: ARG002 - the backend's interface has it
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - the backend's interface has it
    ) -> httpcore2.NetworkStream:
        addresses = self._resolve(host, port)
        if not all(reachable(address, allowed=self._allowed) for address in addresses):
            raise Blocked(
                f"{host} leads to an address that outgoing requests may not reach; "
                "if it is meant to, add its network to the allow list"
            )
        return self._dial(host, addresses, port)

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        seconds = min(self._deadline.left(), self._connect_timeout)
        try:
            addresses = _ask(self._resolver, host, port=port, seconds=seconds)
        except queue.Empty as error:
            raise TimedOut(f"{host} could not be resolved within {seconds:.1f} s") from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"{host} could not be resolved: {why(error)}") from error
        if not addresses:
            raise ConnectFailed(f"{host} has no address")
        return addresses

    def _dial(self, host: str, addresses: Sequence[str], port: int) -> DeadlineStream:
        until = Deadline(min(self._deadline.left(), self._connect_timeout))
        last: OSError | None = None
        for tried, address in enumerate(addresses):
            # An equal share for each, so that one dead address cannot use up the time.
            share = until.left() / (len(addresses) - tried)
            try:
                connection = socket.create_connection((address, port), timeout=share)
            except OSError as error:
                last = error
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return DeadlineStream(connection, self._deadline)
        if isinstance(last, TimeoutError):
            raise TimedOut(f"{host}: no connection within {self._connect_timeout:g} s") from last
        raise ConnectFailed(f"{host}: {why(last)}") from last


class DeadlineStream(httpcore2.NetworkStream):
    """A socket whose every operation ends by the request's deadline."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._socket = connection
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the backend's interface has it
        self._socket.settimeout(self._deadline.left())
        try:
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise self._deadline.passed() from error
        except OSError as error:
            raise Broken(f"the connection broke while reading: {why(error)}") from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the backend's interface has it
        rest = memoryview(buffer)
        while rest:
            self._socket.settimeout(self._deadline.left())
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError as error:
                raise self._deadline.passed() from error
            except OSError as error:
                # httpcore reads on after this error of its own: the server may have
                # answered (413, 401) and closed before it had taken the whole body.
                raise httpcore2.WriteError(why(error)) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the backend's interface has it
    ) -> httpcore2.NetworkStream:
        try:
            self._socket.settimeout(self._deadline.left())
            secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError as error:
            self.close()
            raise self._deadline.passed() from error
        except (OSError, ValueError) as error:
            self.close()
            raise ConnectFailed(f"TLS with {server_hostname} failed: {why(error)}") from error
        return DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
            case "socket":
                return self._socket
            case _:
                return None


def _ask(resolver: Resolver, host: str, *, port: int, seconds: float) -> Sequence[str]:
    """Resolve, giving up on time: the system's resolver itself knows no timeout."""
    answers: queue.SimpleQueue[Sequence[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolver(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    answer = answers.get(timeout=seconds)
    if isinstance(answer, OSError | UnicodeError):
        raise answer
    return answer


def why(error: BaseException | None) -> str:
    """Say what the system said, without the error's number."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
