"""The one client for all requests to configured or submitted addresses.

Channels and routers use :class:`OutgoingClient`: it checks the policy at the moment of connecting,
follows no redirect, uses no proxy from the environment, ends on time however slowly the server
sends, and reads a bounded number of raw bytes that it never decompresses.

Each request opens its own connection: deliveries are rare, and so every connection is checked.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import httpcore2
import httpx2

from alerts.addresses import parse_networks
from alerts.dialing import (
    Blocked,
    Broken,
    ConnectFailed,
    DialDeadline,
    GuardedBackend,
    OutgoingError,
    Resolver,
    TimedOut,
    resolve,
)


@cache
def trust(ca_file: str | None, *, http: bool) -> ssl.SSLContext:
    """Return the TLS settings shared by all clients that trust the same authorities.

    Cached, because the system's 140 authorities take .8 MB and 6 ms to read, and a service has
    seven clients.

    Parameters
    ----------
    ca_file
        PEM file of the authorities; None takes the system's.
    http
        True to offer HTTP in the handshake; the other end of a Redis may refuse that.

    Raises
    ------
    OSError
        The file cannot be read, or holds no certificates.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if http:
        context.set_alpn_protocols(["http/1.1"])
    return context


__all__ = [
    "Blocked",
    "Broken",
    "ConnectFailed",
    "OutgoingClient",
    "OutgoingError",
    "OutgoingPolicy",
    "Reply",
    "TimedOut",
    "redacted",
]

LARGEST_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPolicy:
    """The limits of outgoing requests; durations in seconds.

    allow
        CIDRs that are permitted although the deny list contains them, such as ``10.20.0.0/16`` for
        a cluster's own Alertmanager.
    schemes, ports
        The permitted ones; ``ports=None`` permits any. Use ``{"https"}`` and ``{443}`` for
        addresses that come in through the API.
    timeout
        For the whole request, from resolving to the last byte read.
    connect_timeout
        For resolving, and again for connecting.
    response_limit
        Raw bytes of the body that are read; the rest is dropped unread.
    ca_file
        PEM file of the authorities to trust instead of the system's.
    """

    allow: tuple[str, ...] = ()
    schemes: frozenset[str] = frozenset({"http", "https"})
    ports: frozenset[int] | None = None
    timeout: float = 15.0
    connect_timeout: float = 5.0
    response_limit: int = 64 * 1024
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer. Header names are lower case; the body is as sent, not decoded."""

    status: int
    headers: Mapping[str, str]
    body_start: bytes
    truncated: bool = False


class OutgoingClient:
    """Sends single requests under a policy; safe to share between threads.

    Parameters
    ----------
    resolver
        Maps (host, port) to numeric addresses; the system's by default.
    """

    def __init__(
        self, policy: OutgoingPolicy | None = None, *, resolver: Resolver = resolve
    ) -> None:
        self._policy = policy or OutgoingPolicy()
        self._allowed = parse_networks(self._policy.allow)
        self._resolver = resolver
        if self._policy.ca_file is not None:
            trust(self._policy.ca_file, http=True)  # fail now if it is unreadable
        # At DEBUG it writes every header it receives, and a receiver may echo a secret.
        logging.getLogger("httpcore2").setLevel(logging.INFO)

    def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout: float | None = None
    ) -> Reply:
        """Send ``body`` exactly as given. Errors and timeout as in :meth:`get`."""
        return self._send("POST", url, body=body, headers=headers, timeout=timeout)

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Reply:
        """Fetch a URL; any status is a reply, even a redirect.

        Parameters
        ----------
        timeout
            Total seconds for this request; None takes the policy's.

        Raises
        ------
        Blocked, TimedOut, ConnectFailed, Broken
            No usable answer (see :mod:`alerts.dialing`).
        """
        return self._send("GET", url, body=b"", headers=headers or {}, timeout=timeout)

    @contextlib.contextmanager
    def connection(
        self, host: str, port: int, *, tls: bool, timeout: float | None = None
    ) -> Iterator[httpcore2.NetworkStream]:
        """Open a connection for a protocol that is not HTTP, guarded in the same way.

        Parameters
        ----------
        timeout
            Total seconds until the last byte is read; None takes the policy's.

        Raises
        ------
        Blocked, TimedOut, ConnectFailed, Broken
            Also raised within the ``with`` block, if the connection breaks or time runs out.
        """
        backend = self._backend(timeout)
        try:
            with contextlib.ExitStack() as stack:
                stream = stack.enter_context(contextlib.closing(backend.connect_tcp(host, port)))
                yield stack.enter_context(self.secured(stream, host)) if tls else stream
        except httpcore2.NetworkError as error:
            raise Broken(f"the connection to {host} broke") from error

    @contextlib.contextmanager
    def secured(
        self, stream: httpcore2.NetworkStream, host: str
    ) -> Iterator[httpcore2.NetworkStream]:
        """Start TLS on an open connection; raises ConnectFailed if the certificate is refused."""
        authorities = trust(self._policy.ca_file, http=False)
        with contextlib.closing(stream.start_tls(authorities, server_hostname=host)) as secured:
            yield secured

    def reach(self, url: str, *, timeout: float | None = None) -> None:
        """Open a connection to where a URL leads, with TLS if it asks for that, and send nothing.

        Errors and timeout as in :meth:`connection`, and Blocked for what is no URL. Besides
        ``http`` and ``https``, the URL may be one of ``smtp`` or ``smtps`` with a port.
        """
        target = _url(url)
        host, tls = target.raw_host.decode("ascii"), target.scheme in {"https", "smtps"}
        port = target.port if target.port is not None else DEFAULT_PORTS[target.scheme]
        self.check_port(host, port)
        with self.connection(host, port, tls=tls, timeout=timeout):
            pass

    def check(self, url: str) -> None:
        """Refuse what can be refused without the network; call this on configuration.

        Raises
        ------
        Blocked
            Not a URL, or its scheme, port or credentials are not permitted.
        """
        self._parse(url)

    def check_port(self, host: str, port: int) -> None:
        """Refuse a port that the policy does not permit, as :meth:`check` does of a URL."""
        self._check_port(port, f"{host}:{port}")

    def _send(
        self,
        method: str,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> Reply:
        target = self._parse(url)
        request = httpcore2.Request(
            method,
            target,
            headers=_headers(method, target, headers=headers, body=body),
            content=body,
        )
        connection = httpcore2.HTTPConnection(
            origin=target.origin,
            ssl_context=(
                trust(self._policy.ca_file, http=True) if target.scheme == b"https" else None
            ),
            network_backend=self._backend(timeout),
        )
        with _our_errors(target), contextlib.closing(connection):
            return self._read(connection.handle_request(request))

    def _backend(self, timeout: float | None) -> GuardedBackend:
        return GuardedBackend(
            allowed=self._allowed,
            resolver=self._resolver,
            deadline=DialDeadline(self._policy.timeout if timeout is None else timeout),
            connect_timeout=self._policy.connect_timeout,
        )

    def _read(self, response: httpcore2.Response) -> Reply:
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > self._policy.response_limit:
                break
        return Reply(
            status=response.status,
            headers={
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            },
            body_start=bytes(body[: self._policy.response_limit]),
            truncated=len(body) > self._policy.response_limit,
        )

    def _parse(self, url: str) -> httpcore2.URL:
        parsed = _url(url)
        if parsed.scheme not in self._policy.schemes:
            permitted = ", ".join(sorted(self._policy.schemes))
            raise Blocked(f"the scheme of {redacted(url)} is not permitted ({permitted})")
        if parsed.userinfo:
            raise Blocked(f"{redacted(url)} carries credentials; use a secret instead")
        if not parsed.raw_host:
            raise Blocked("the URL names no host")
        port = parsed.port if parsed.port is not None else DEFAULT_PORTS[parsed.scheme]
        self._check_port(port, redacted(url))
        return httpcore2.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=port, target=parsed.raw_path
        )

    def _check_port(self, port: int, place: str) -> None:
        if not 0 < port <= LARGEST_PORT:
            raise Blocked(f"{place} has no valid port")
        if self._policy.ports is not None and port not in self._policy.ports:
            raise Blocked(f"port {port} of {place} is not permitted")


def redacted(url: str) -> str:
    """Strip a URL of possible secrets, leaving scheme, host and port.

    >>> redacted("https://user:pw@hooks.example.com:8443/T0/B1/secret?token=x")
    'https://hooks.example.com:8443/…'
    """
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError, ValueError):
        return "(not a URL)"
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    port = "" if parsed.port is None else f":{parsed.port}"
    return f"{parsed.scheme}://{host}{port}/…"


def _url(url: str) -> httpx2.URL:
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError, ValueError):
        # The library's message would quote the URL, which may hold a secret.
        raise Blocked("not a valid URL") from None


def _headers(
    method: str, target: httpcore2.URL, *, headers: Mapping[str, str], body: bytes
) -> list[tuple[bytes, bytes]]:
    own = {
        "host": _host(target),
        "connection": "close",
        "accept-encoding": "identity",
        "user-agent": "driftline",
    }
    if method != "GET":
        own["content-length"] = str(len(body))
    merged = own | {name.lower(): value for name, value in headers.items()}
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in merged.items()]


def _host(target: httpcore2.URL) -> str:
    host = target.host.decode("ascii")
    bracketed = f"[{host}]" if ":" in host else host
    usual = target.port == DEFAULT_PORTS[target.scheme.decode("ascii")]
    return bracketed if usual else f"{bracketed}:{target.port}"


@contextlib.contextmanager
def _our_errors(target: httpcore2.URL) -> Iterator[None]:
    host = target.host.decode("ascii")
    try:
        yield
    except httpcore2.RemoteProtocolError as error:
        raise Broken(f"{host} did not answer with complete HTTP") from error
    except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
        raise Broken(f"the connection to {host} broke") from error
    except httpcore2.LocalProtocolError:
        # Its message quotes the offending header, which may be the secret one.
        raise Blocked(f"the request to {host} has a header that HTTP cannot carry") from None
