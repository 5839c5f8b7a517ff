"""The engines of a Kubernetes cluster: ready endpoints, followed as they come and go.

``kubernetes+http://vllm.models:8000`` stands for the pods behind the Service ``vllm`` of the
namespace ``models``, ``kubernetes+http://models:8000?selector=app%3Dvllm`` for those of all
Services there whose EndpointSlices have the label. The API server is asked as pods are meant to:
a list, then a watch from where the list ended, resumed after each break, and another list once the
server has forgotten that place.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec
import structlog

from monitor.addresses import EndpointsWanted

_LOG: Final = structlog.get_logger(__name__)

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token of its service account, and the cluster's authority."""
FIRST_LIST_S: Final = 10.0
"""How long the first question for addresses waits for an answer of the API server."""
WATCH_S: Final = 300
"""After so long the API server ends a watch, and the next one begins where it ended."""
QUIET_S: Final = 100.0
"""A watch that says nothing in this time is begun anew: a bookmark comes each minute."""
_ANSWER_S: Final = 10.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_PAGE: Final = 500
_LONGEST_LINE: Final = 16 * 1024 * 1024
_OK: Final = 200
_NOT_FOUND: Final = 404
_GONE: Final = 410
_FORBIDDEN: Final = 403


class ClusterError(Exception):
    """The API server cannot be asked, or does not answer as one; the text says why."""


class ListingGone(ClusterError):  # noqa: N818 (what the API server calls it)
    """The API server has forgotten the place from which it should go on."""


class ListingForbidden(ClusterError):  # noqa: N818 (what the API server calls it)
    """The service account has no right to list what it asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An API server, and how a pod proves itself to it; the token is read anew for each request."""

    host: str
    port: int
    token: Path
    authority: Path

    @classmethod
    def around(cls, environ: Mapping[str, str], account: Path = ACCOUNT) -> Cluster:
        """Return the cluster that this process runs in.

        Raises
        ------
        ClusterError
            It runs in none, or its pod has no service account.
        """
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port or not port.isdigit():
            raise ClusterError("this process runs in no Kubernetes cluster")
        cluster = cls(
            host=host, port=int(port), token=account / "token", authority=account / "ca.crt"
        )
        if not cluster.token.is_file():
            raise ClusterError(f"the pod has no service account: {cluster.token} is no file")
        return cluster

    def connection(self) -> tuple[http.client.HTTPSConnection, dict[str, str]]:
        """Make a connection to the API server, unopened, and the headers of a request."""
        connection = http.client.HTTPSConnection(
            self.host,
            self.port,
            timeout=_ANSWER_S,
            context=ssl.create_default_context(cafile=str(self.authority)),
        )
        token = self.token.read_text(encoding="ascii").strip()
        return connection, {"Authorization": f"Bearer {token}", "Accept": "application/json"}


# --- what the API server says ---------------------------------------------------------------


class _Port(msgspec.Struct):
    name: str | None = None
    port: int | None = None


class _Conditions(msgspec.Struct):
    ready: bool | None = None


class _Endpoint(msgspec.Struct):
    addresses: list[str]
    conditions: _Conditions | None = None


class _Metadata(msgspec.Struct):
    name: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")
    more: str = msgspec.field(name="continue", default="")


class _Slice(msgspec.Struct):
    metadata: _Metadata
    kind: str = msgspec.field(name="addressType", default="")
    ports: list[_Port] | None = None
    endpoints: list[_Endpoint] | None = None


class _Slices(msgspec.Struct):
    metadata: _Metadata
    items: list[_Slice]


class _Objects(msgspec.Struct):
    metadata: _Metadata
    items: list[msgspec.Raw]


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


_SLICES: Final = msgspec.json.Decoder(_Slices)
_OBJECTS: Final = msgspec.json.Decoder(_Objects)
_SLICE: Final = msgspec.json.Decoder(_Slice)
_EVENT: Final = msgspec.json.Decoder(_Event)
_STATUS: Final = msgspec.json.Decoder(_Status)


def list_objects(cluster: Cluster, where: str) -> list[bytes] | None:
    """Return all objects at a path of the API, each as JSON; None if the cluster has no such kind.

    Raises
    ------
    ListingForbidden
        This service account may not list them.
    ClusterError
        The API server cannot be reached, breaks off, refuses, or answers no list.
    """
    found: list[bytes] = []
    more = ""
    while True:
        try:
            page = _page(cluster, where, more)
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise ClusterError(f"the API server: {type(error).__name__}: {error}") from error
        if page is None:
            return None
        found += [bytes(one) for one in page.items]
        more = page.metadata.more
        if not more:
            return found


def _page(cluster: Cluster, where: str, more: str) -> _Objects | None:
    query = {"limit": str(_PAGE)} | ({"continue": more} if more else {})
    connection, headers = cluster.connection()
    with closing(connection):
        connection.request("GET", f"{where}?{urlencode(query)}", headers=headers)
        with connection.getresponse() as response:
            if response.status == _NOT_FOUND:
                return None
            if response.status != _OK:
                refused = ListingForbidden if response.status == _FORBIDDEN else ClusterError
                raise refused(f"the API server answers {response.status}")
            return _OBJECTS.decode(response.read())


class EndpointWatch:
    """The endpoints that are ready now, followed by a thread of its own.

    While the API server is away the last ones stay. Threads may share it.
    """

    def __init__(self, wanted: EndpointsWanted, cluster: Cluster) -> None:
        self._wanted = wanted
        self._cluster = cluster
        self._slices: dict[str, _Slice] = {}
        self._version = ""
        self._addresses: tuple[str, ...] = ()
        self._listed = threading.Event()
        self._ending = threading.Event()
        self._socket: socket.socket | None = None
        self._fault = "the API server has not answered yet"
        self._pause = _FIRST_PAUSE_S
        self._thread = threading.Thread(target=self._run, name="endpoints", daemon=True)

    def start(self) -> None:
        """Begin to follow them."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._ending.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def look(self) -> tuple[str, ...]:
        """List the endpoints once and begin to watch them, without a thread; return the addresses.

        Raises
        ------
        ClusterError
            The API server cannot be asked, or does not let this service account list or watch.
        """
        try:
            self._list()
            with self._watching():
                return self._addresses
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise ClusterError(f"the API server: {type(error).__name__}: {error}") from error

    def addresses(self) -> tuple[str, ...]:
        """Return the engines' addresses; the first call waits for the first list."""
        self._listed.wait(FIRST_LIST_S)
        return self._addresses

    @property
    def known(self) -> tuple[str, ...]:
        """The engines' addresses at this moment, without waiting."""
        return self._addresses

    @property
    def fault(self) -> str:
        """Why there may be others by now; empty while the API server answers."""
        return self._fault

    def _run(self) -> None:
        """Follow the endpoints; each pause doubles until the API server answers again."""
        while not self._ending.is_set():
            begun = time.monotonic()
            try:
                if not self._version:
                    self._list()
                self._watch()
            except ListingGone:
                self._version = ""
            except msgspec.MsgspecError as error:
                self._failed(f"no EndpointSlice: {error}")
                self._version = ""
            except Exception as error:  # noqa: BLE001 (one turn of the loop: the next tries again)
                self._failed(f"{type(error).__name__}: {error}")
            else:
                if time.monotonic() - begun > _FIRST_PAUSE_S:
                    continue
            self._ending.wait(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)

    def _failed(self, fault: str) -> None:
        if self._ending.is_set():
            return
        if fault != self._fault:
            namespace = self._wanted.namespace
            _LOG.warning("endpoints_not_followed", namespace=namespace, reason=fault)
        self._fault = fault

    def _list(self) -> None:
        """Read all slices, page by page."""
        found: dict[str, _Slice] = {}
        more = ""
        while True:
            query = {"limit": str(_PAGE)} | ({"continue": more} if more else {})
            with self._asked(query) as response:
                page = _SLICES.decode(response.read())
            found |= {one.metadata.name: one for one in page.items}
            more = page.metadata.more
            if not more:
                break
        self._slices, self._version = found, page.metadata.version
        self._became()

    def _watch(self) -> None:
        """Follow the changes until the watch ends, breaks, or says nothing more."""
        with self._watching() as response, suppress(OSError, http.client.HTTPException):
            for line in _lines(response):
                self._take(_EVENT.decode(line))

    def _watching(self) -> AbstractContextManager[http.client.HTTPResponse]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_S),
        }
        return self._asked(query)

    def _take(self, event: _Event) -> None:
        if event.type == "ERROR":
            status = _STATUS.decode(event.object)
            gone = status.code == _GONE
            raise (ListingGone if gone else ClusterError)(f"{status.code} {status.message}"[:200])
        one = _SLICE.decode(event.object)
        if event.type == "DELETED":
            self._slices.pop(one.metadata.name, None)
        elif event.type != "BOOKMARK":
            self._slices[one.metadata.name] = one
        self._version = one.metadata.version or self._version
        self._became()

    def _became(self) -> None:
        self._addresses = ready_addresses(self._slices.values(), self._wanted)
        self._listed.set()

    @contextmanager
    def _asked(self, query: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        wanted = self._wanted
        where = f"/apis/discovery.k8s.io/v1/namespaces/{wanted.namespace}/endpointslices"
        connection, headers = self._cluster.connection()
        asked = urlencode({"labelSelector": wanted.selector, **query})
        with closing(connection):
            connection.request("GET", f"{where}?{asked}", headers=headers)
            self._socket = connected = connection.sock
            if self._ending.is_set():  # looked at after the socket is known to `stop`
                raise ClusterError("the watch ends")
            with connection.getresponse() as response:
                self._check(response.status)
                self._fault, self._pause = "", _FIRST_PAUSE_S
                connected.settimeout(QUIET_S)
                yield response

    def _check(self, status: int) -> None:
        if status == _GONE:
            raise ListingGone
        if status == _FORBIDDEN:
            namespace = self._wanted.namespace
            raise ClusterError(
                f"its service account may not list and watch endpointslices in {namespace}"
            )
        if status != _OK:
            raise ClusterError(f"the API server answers {status}")


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while line := response.readline(_LONGEST_LINE):
        if not line.endswith(b"\n"):
            raise ClusterError("a line of the watch breaks off, or is too long")
        if line.strip():
            yield line


def ready_addresses(slices: Iterable[_Slice], wanted: EndpointsWanted) -> tuple[str, ...]:
    """Return the addresses of all ready endpoints: IPv4, or where there is none, IPv6."""
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for one in slices:
        port = _port(one.ports or (), wanted.port)
        if port is None:
            continue
        for endpoint in one.endpoints or ():
            if endpoint.conditions is not None and endpoint.conditions.ready is False:
                continue
            host = endpoint.addresses[0]
            host = f"[{host}]" if ":" in host else host
            found[one.kind != "IPv6"].add(f"http://{host}:{port}{wanted.path}")
    return tuple(sorted(found[True] or found[False]))


def _port(ports: Sequence[_Port], wanted: int | str | None) -> int | None:
    """Return the port of a slice: of this number or name, named http, or the only one."""
    known = {one.name or "": one.port for one in ports if one.port is not None}
    if isinstance(wanted, int):
        return wanted if wanted in known.values() else None
    if wanted is not None:
        return known.get(wanted)
    return known.get("http") or (next(iter(known.values())) if len(known) == 1 else None)


_WATCHES: Final[dict[str, EndpointWatch]] = {}
_STARTING: Final = threading.Lock()


def watch_of(
    written: str, *, cluster: Callable[[], Cluster] = lambda: Cluster.around(os.environ)
) -> EndpointWatch:
    """Return this process's one watch of an address.

    Raises
    ------
    ClusterError
        There is no cluster around this process.
    """
    with _STARTING:
        if written not in _WATCHES:
            watch = EndpointWatch(EndpointsWanted.of(written), cluster())
            watch.start()
            _WATCHES[written] = watch
        return _WATCHES[written]


def known_now(written: str) -> tuple[str, ...]:
    """Return what an address stands for at this moment; empty until a watch of it has begun."""
    watch = _WATCHES.get(written)
    return () if watch is None else watch.known
