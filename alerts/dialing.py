"""Connections that reach only permitted addresses and end on time.

:class:`GuardedBackend` is httpcore's network backend, which turns a name into an address and an
address into a connection, so that nothing can be swapped between check and use.
:class:`DeadlineStream` limits every read, write and handshake to the rest of the whole request's
time; with a timeout for each read, a server could drip for ever.

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
from dataclasses import dataclass
from typing import Any

import httpcore2

from alerts.addresses import Network, is_address, reachable

Resolver = Callable[[str, int], Sequence[str]]
"""Maps (host, port) to numeric addresses, best first; raises OSError if there are none."""


class OutgoingError(Exception):
    """No usable answer; the message names at most the host, never path, query or headers."""


class Blocked(OutgoingError):  # noqa: N818 - the tree reads as outcomes
    """The request is not permitted; nothing was sent."""


class TimedOut(OutgoingError):  # noqa: N818 - named as the outcome it reports
    """Time ran out; the receiver may or may not have handled the request."""


class ConnectFailed(OutgoingError):  # noqa: N818 - named as the outcome it reports
    """No connection; nothing was sent."""


class Broken(OutgoingError):  # noqa: N818 - named as the outcome it reports
    """The connection broke or the answer was invalid; the request may have been handled."""


class DialDeadline:
    """A moment on the monotonic clock by which all work must end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, always positive.

        Raises
        ------
        TimedOut
            No time is left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> TimedOut:
        """Build the error for a wait that used up the remaining time."""
        return TimedOut(f"no complete answer within {self._seconds:g} s")


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver; keep its order and drop repeated addresses."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(kw_only=True, eq=False)
class GuardedBackend(httpcore2.NetworkBackend):
    """Connects to a name only if **every** address behind it is permitted.

    Refusing a name when one of its addresses is forbidden keeps a mixed answer from turning a retry
    into a way in. Only the checked addresses are dialled.
    """

    allowed: tuple[Network, ...]
    resolver: Resolver
    deadline: DialDeadline
    connect_timeout: float

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline rules
        local_address: str | None = None,  # noqa: ARG002 - the backend's interface has it
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - the backend's interface has it
    ) -> httpcore2.NetworkStream:
        addresses = self._resolve(host, port)
        if not all(reachable(address, allowed=self.allowed) for address in addresses):
            raise Blocked(
                f"{host} leads to an address that outgoing requests may not reach; "
                "if it is meant to, add its network to the allow list"
            )
        return self._dial(host, addresses, port)

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        seconds = min(self.deadline.left(), self.connect_timeout)
        try:
            addresses = _ask(self.resolver, host, port=port, seconds=seconds)
        except queue.Empty as error:
            raise TimedOut(f"{host} could not be resolved within {seconds:.1f} s") from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"{host} could not be resolved: {why(error)}") from error
        if not addresses:
            raise ConnectFailed(f"{host} has no address")
        return addresses

    def _dial(self, host: str, addresses: Sequence[str], port: int) -> DeadlineStream:
        until = DialDeadline(min(self.deadline.left(), self.connect_timeout))
        last: OSError | None = None
        for tried, address in enumerate(addresses):
            # Equal shares, so that one dead address cannot use up the time.
            share = until.left() / (len(addresses) - tried)
            try:
                connection = socket.create_connection((address, port), timeout=share)
            except OSError as error:
                last = error
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return DeadlineStream(connection, self.deadline)
        if isinstance(last, TimeoutError):
            raise TimedOut(f"{host}: no connection within {self.connect_timeout:g} s") from last
        raise ConnectFailed(f"{host}: {why(last)}") from last


class DeadlineStream(httpcore2.NetworkStream):
    """A socket whose operations all end by the request's deadline."""

    def __init__(self, connection: socket.socket, deadline: DialDeadline) -> None:
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
    """Resolve within the time limit, since the system's resolver has no timeout.

    An address is its own answer, which nobody has to wait for.
    """
    if is_address(host):
        return resolver(host, port)
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
    """Return the system's error text, without the error's number."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
