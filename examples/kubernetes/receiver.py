"""Carry Driftline's routes into a cluster: the receiver of the router ``webhook``.

Run it in the cluster, with a service account that may get and patch the objects::

    python -m examples.kubernetes.receiver objects.json

``objects.json`` says which object is whose::

    {"support": {"kind": "InferenceModelRewrite", "group": "inference.networking.x-k8s.io",
                 "version": "v1alpha2", "namespace": "llm", "plural": "inferencemodelrewrites",
                 "name": "support", "rule": 0}}

A route comes by signed POST and becomes a patch that loses to whoever changed the object
meanwhile; a signed GET reads the object itself back. It enforces expiry every few seconds,
whether Driftline answers or not. Only the standard library is needed.
"""

import argparse
import base64
import hashlib
import hmac
import json
import logging
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from examples.kubernetes.objects import document_of, edition, kept_in, patch

LOG: Final = logging.getLogger("driftline")
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOLERANCE: Final = 300
"""Seconds that a signed message may be old."""
LARGEST: Final = 1024 * 1024
TRIES: Final = 3
EVERY: Final = 5.0


class Refused(Exception):  # noqa: N818 (named as the outcome)
    """The answer is this status and nothing else."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Cluster:
    """The API server, as a service account reaches it; its token is read anew each time."""

    def __init__(self, url: str, token_file: Path, *, tls: ssl.SSLContext | None = None) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        handlers += [urllib.request.HTTPSHandler(context=tls)] if tls else []
        self._open = urllib.request.build_opener(*handlers).open

    def get(self, place: str) -> Any:
        """Read an object; raises Refused with the server's status."""
        return self._ask("GET", place, None, "application/json")

    def patch(self, place: str, operations: list[dict[str, Any]]) -> Any:
        """Patch an object; 422 and 409 say that somebody was faster."""
        # as merge-patch, which clients send by default, a list is refused
        body = json.dumps(operations).encode()
        return self._ask("PATCH", place, body, "application/json-patch+json")

    def _ask(self, method: str, place: str, body: bytes | None, kind: str) -> Any:
        token = self._token_file.read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
        request = urllib.request.Request(  # noqa: S310 - the cluster's own address
            self._url + place, data=body, headers=headers, method=method
        )
        try:
            with self._open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code) from None


class Routes:
    """Routes as objects: writes them, reads them back, ends those that expire."""

    def __init__(self, cluster: Cluster, objects: Mapping[str, Mapping[str, Any]]) -> None:
        self._cluster = cluster
        self._objects = objects

    def write(self, route: dict[str, Any], *, now: datetime | None = None) -> None:
        """Make the object say the route; 409 where it holds a newer one."""
        where = self._where(route["adapter"])
        for _ in range(TRIES):
            found = self._cluster.get(_place(where))
            moment = now or datetime.now(UTC)
            held = document_of(where["kind"], found, rule=where["rule"], now=moment)
            if held is not None and edition(held) > edition(route):
                raise Refused(409)
            change = patch(where["kind"], found, route, rule=where["rule"], now=moment)
            if not change:
                return
            try:
                self._cluster.patch(_place(where), change)
            except Refused as refused:
                if refused.status not in {409, 422}:
                    raise
            else:
                return
        raise Refused(503)

    def read(self, adapter: str, *, now: datetime | None = None) -> dict[str, Any] | None:
        """Read what the object says now."""
        where = self._where(adapter)
        found = self._cluster.get(_place(where))
        moment = now or datetime.now(UTC)
        return document_of(where["kind"], found, rule=where["rule"], now=moment)

    def enforce_expiry(self, *, now: datetime | None = None) -> None:
        """Write each kept route that has expired again, so that its heir gets everything.

        An object that cannot be read or written costs the others nothing.
        """
        for adapter, where in self._objects.items():
            try:
                route = kept_in(self._cluster.get(_place(where)))
                moment = now or datetime.now(UTC)
                if route and route["valid_until"] and _over(route["valid_until"], moment):
                    self.write(route, now=moment)
            except Refused as refused:
                LOG.warning("%s: the API server answers %d", adapter, refused.status)
            except (OSError, LookupError, ValueError, TypeError) as error:
                LOG.warning("%s: expiry cannot be looked after: %r", adapter, error)

    def _where(self, adapter: str) -> Mapping[str, Any]:
        if adapter not in self._objects:
            raise Refused(404)
        return self._objects[adapter]


def verify(secrets: str, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Refuse what is not signed as Standard Webhooks says, with 401."""
    sent = {name.lower(): value for name, value in headers.items()}
    stamp = sent.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs(now - int(stamp)) > TOLERANCE:
        raise Refused(401)
    signed = f"{sent.get('webhook-id', '')}.{stamp}.".encode() + body
    for secret in secrets.split():
        key = base64.b64decode(secret.removeprefix("whsec_"))
        ours = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        for theirs in sent.get("webhook-signature", "").split():
            if hmac.compare_digest(ours.encode(), theirs.encode()):
                return
    raise Refused(401)


def respond(  # noqa: PLR0917 - the parts of a request, as servers give them
    routes: Routes, secrets: str, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """Answer one request of Driftline's."""
    try:
        verify(secrets, headers, body, now=time.time())
        if method == "POST":
            routes.write(json.loads(body))
            return 204, b""
        found = routes.read(parse_qs(urlsplit(path).query)["adapter"][0])
        return (404, b"") if found is None else (200, json.dumps(found).encode())
    except Refused as refused:
        return refused.status, b""
    except (KeyError, ValueError, TypeError):
        return 400, b""
    except OSError as error:
        LOG.warning("the API server gives no answer: %s", type(error).__name__)
        return 503, b""


def _place(where: Mapping[str, Any]) -> str:
    return (
        f"/apis/{where['group']}/{where['version']}/namespaces/{where['namespace']}"
        f"/{where['plural']}/{where['name']}"
    )


def _over(until: str, now: datetime) -> bool:
    return now >= datetime.fromisoformat(until)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("objects", type=Path)
    parser.add_argument("--port", type=int, default=8442)
    given = parser.parse_args()
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    routes = Routes(
        Cluster(f"https://{host}:{port}", ACCOUNT / "token", tls=tls),
        json.loads(given.objects.read_text(encoding="utf-8")),
    )
    secrets = os.environ["DRIFTLINE_ROUTING_SECRET"]

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            size = min(LARGEST, int(self.headers.get("content-length") or 0))
            body = self.rfile.read(size)
            status, answer = respond(
                routes, secrets, self.command, self.path, dict(self.headers.items()), body
            )
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _any  # noqa: N815 - names of http.server

    def enforce() -> None:
        while True:
            routes.enforce_expiry()
            time.sleep(EVERY)

    threading.Thread(target=enforce, daemon=True).start()
    ThreadingHTTPServer(("", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
