"""A double of Kubernetes' API server: EndpointSlices, and lists of other objects.

It lists and watches, with bookmarks, 410 and resets; Kubernetes' official client follows it, too.

It speaks HTTPS, knows one token at a time, keeps a history of changes that it may forget, and ends
watches in each way that a real one does.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import trustme

from monitor.kubernetes import Cluster

NAMESPACE: Final = "models"
SERVICE: Final = "kubernetes.io/service-name"
API: Final = "discovery.k8s.io/v1"
NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
"""What an API server takes as an object's name: a subdomain of RFC 1123."""
LABEL: Final = re.compile(r"(?=.{0,63}$)([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?")
"""What it takes as a label's value."""
Slice = dict[str, Any]


def endpoint_slice(
    name: str,
    hosts: Mapping[str, bool | None],
    *,
    ports: Mapping[str, int] | None = None,
    kind: str = "IPv4",
    **labels: str,
) -> Slice:
    """A slice of hosts, each ready or not; None: the controller does not know."""
    return {
        "metadata": {"name": name, "labels": {SERVICE: "vllm", **labels}},
        "addressType": kind,
        "ports": [{"name": key, "port": port} for key, port in (ports or {"http": 8000}).items()],
        "endpoints": [
            {"addresses": [host], "conditions": {} if ready is None else {"ready": ready}}
            for host, ready in hosts.items()
        ],
    }


EXPIRED: Final = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "too old resource version",
    "reason": "Expired",
    "code": 410,
}


def _typed(one: Slice) -> Slice:
    """Return an object as it stands alone; in a list the list says what it is."""
    return {"kind": "EndpointSlice", "apiVersion": API, **one}


class KubernetesApi:
    """The server; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self._certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(folder / "ca.crt"))
        self._folder = folder
        self.rotate_token()
        self._slices: dict[str, Slice] = {}
        self._version = 100
        self._events: list[tuple[int, dict[str, Any]]] = []
        self._oldest = 0
        self._ended = 0
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self.asked: list[dict[str, str]] = []
        """The queries of all requests that were answered."""
        self.refuse: int | None = None
        """A status to answer everything with."""
        self.forbidden: set[str] = set()
        """Paths that this service account may not list: refused before the kind is looked for."""
        self.breaks_off: set[str] = set()
        """Paths whose answers end before their length."""
        self.page = 500
        self._objects: dict[str, list[dict[str, Any]]] = {}
        self.always_gone = False
        """True: every watch is told that its place is forgotten."""
        self.gone_at_once = False
        """True: a watch from a place that is forgotten is answered 410, and does not begin."""
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("OwnHandler", (ApiHandler,), {"api": self})
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_watches()
        self._server.shutdown()
        self._server.server_close()

    @property
    def environ(self) -> dict[str, str]:
        """What a pod finds in its environment."""
        host, port = self._server.server_address[:2]
        return {"KUBERNETES_SERVICE_HOST": str(host), "KUBERNETES_SERVICE_PORT": str(port)}

    @property
    def cluster(self) -> Cluster:
        return Cluster.around(self.environ, self._folder)

    def rotate_token(self) -> None:
        """Give pods another token; the one before is worth nothing."""
        self.token = secrets.token_hex(8)
        (self._folder / "token").write_text(f"{self.token}\n")

    # --- what happens in the cluster ------------------------------------------------------

    def put(self, one: Slice) -> None:
        """Create or replace a slice."""
        with self._changed:
            kind = "MODIFIED" if one["metadata"]["name"] in self._slices else "ADDED"
            self._happened(kind, one)

    def have(self, path: str, objects: Sequence[dict[str, Any]]) -> None:
        """Hold objects of another kind, by the path of their list; other kinds are unknown."""
        for one in objects:
            metadata = one["metadata"]
            assert NAME.fullmatch(metadata["name"]), metadata
            assert all(map(LABEL.fullmatch, metadata.get("labels", {}).values())), metadata
        self._objects[path] = [*objects]

    def delete(self, name: str) -> None:
        with self._changed:
            self._happened("DELETED", self._slices[name])

    def _happened(self, kind: str, one: Slice) -> None:
        self._version += 1
        name = one["metadata"]["name"]
        one = {**one, "metadata": {**one["metadata"], "resourceVersion": str(self._version)}}
        if kind == "DELETED":
            del self._slices[name]
        else:
            self._slices[name] = one
        self._events.append((self._version, {"type": kind, "object": _typed(one)}))
        self._changed.notify_all()

    def forget(self) -> None:
        """Drop the history: who goes on from an older place is told 410."""
        with self._changed:
            self._version += 1
            self._oldest = self._version
            self._events.clear()
            self._changed.notify_all()

    def bookmark(self) -> None:
        """Tell watchers how far they are, although nothing of theirs changed."""
        with self._changed:
            self._version += 7
            found = {"metadata": {"resourceVersion": str(self._version)}, "endpoints": None}
            self._events.append((self._version, {"type": "BOOKMARK", "object": _typed(found)}))
            self._changed.notify_all()

    def end_watches(self) -> None:
        """End them as after `timeoutSeconds`."""
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def reset(self) -> None:
        """Break all connections."""
        with self._changed:
            connections, self._open = self._open, set()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # --- what it answers ------------------------------------------------------------------

    def listed(self, query: Mapping[str, str]) -> dict[str, Any]:
        """One page of a list."""
        with self._changed:
            found = self._matching(query)
            begin = int(query.get("continue", 0))
            end = begin + min(self.page, int(query.get("limit", self.page)))
            page, more = found[begin:end], str(end) if end < len(found) else ""
            return {
                "kind": "EndpointSliceList",
                "apiVersion": API,
                "metadata": {"resourceVersion": str(self._version), "continue": more},
                "items": page,
            }

    def has(self, path: str) -> bool:
        return path in self._objects

    def page_of(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """One page of a list of other objects."""
        found, begin = self._objects[path], int(query.get("continue", 0))
        more = str(begin + self.page) if begin + self.page < len(found) else ""
        page = found[begin : begin + self.page]
        return {"metadata": {"resourceVersion": "1", "continue": more}, "items": page}

    def _matching(self, query: Mapping[str, str]) -> list[Slice]:
        return [one for one in self._slices.values() if _matches(one, query["labelSelector"])]

    def after(self, version: int, ended: int, selector: str) -> Sequence[dict[str, Any]] | None:
        """Wait for the events after a version; None when the watch ends."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._ended != ended
                    or self.always_gone
                    or self.forgot(version)
                    or any(at > version for at, _ in self._events)
                ),
                30,
            )
            if self.always_gone or self.forgot(version):
                return [{"type": "ERROR", "object": EXPIRED}]
            found = [event for at, event in self._events if at > version]
            fitting = [
                event
                for event in found
                if event["type"] == "BOOKMARK" or _matches(event["object"], selector)
            ]
            return fitting or None

    def forgot(self, version: int) -> bool:
        """Whether nobody can go on from a version."""
        return version < self._oldest

    @property
    def ends(self) -> int:
        return self._ended

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.add(connection)


def _matches(one: Slice, selector: str) -> bool:
    labels = one["metadata"]["labels"]
    wanted = dict(part.split("=", 1) for part in selector.split(","))
    return wanted.items() <= labels.items()


class ApiHandler(BaseHTTPRequestHandler):
    """Answers for the server that it is made for."""

    api: KubernetesApi
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
        if self.api.refuse is not None:
            self.send_error(self.api.refuse)
        elif not self._knows(self.headers["Authorization"] or ""):
            self.send_error(401)
        elif parts.path in self.api.forbidden:
            self.send_error(403)
        elif self.api.has(parts.path):
            short = parts.path in self.api.breaks_off
            self._send(self.api.page_of(parts.path, query), lacking=9 if short else 0)
        elif parts.path != path:
            self.send_error(403 if "discovery" in parts.path else 404)
        else:
            (self._watch if "watch" in query else self._list)(query)

    def _knows(self, authorization: str) -> bool:
        """Compare as HTTP says: a scheme has no case, and the official client's is small."""
        scheme, _, token = authorization.partition(" ")
        return (scheme.lower(), token) == ("bearer", self.api.token)

    def _list(self, query: dict[str, str]) -> None:
        self.api.asked.append(query)
        self._send(self.api.listed(query))

    def _send(self, found: Mapping[str, Any], *, lacking: int = 0) -> None:
        body = json.dumps(found).encode()
        self.close_connection = lacking > 0
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - lacking])

    def _watch(self, query: dict[str, str]) -> None:
        self.api.opened(self.connection)
        version, ended = int(query["resourceVersion"]), self.api.ends
        self.api.asked.append(query)  # from here on it can be broken and ended
        if self.api.gone_at_once and self.api.forgot(version):
            self.send_error(410)
            return
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while events := self.api.after(version, ended, query["labelSelector"]):
                for event in events:
                    self._chunk(json.dumps(event).encode() + b"\n")
                    if event["type"] == "ERROR":
                        self._chunk(b"")
                        return
                    version = int(event["object"]["metadata"]["resourceVersion"])
            self._chunk(b"")
        except OSError:
            self.close_connection = True

    def _chunk(self, body: bytes) -> None:
        self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        self.wfile.flush()
