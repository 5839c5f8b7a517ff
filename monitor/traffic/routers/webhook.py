"""A receiver of the operator's: told by a signed POST, read by a signed GET of the same URL."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from alerts.outgoing import OutgoingClient, OutgoingError, Reply, redacted
from alerts.signature import parse_secrets, signed_headers
from monitor.domain import Arm, Route, Version
from monitor.traffic.routers import document
from monitor.traffic.routers.contract import Reach, RouterFailed

_JSON: Final = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRouting:
    """Keys of ``[routing.webhook]``.

    url
        Takes the route by POST and gives it by GET, with ``adapter`` in the query.
    secret
        One or several ``whsec_…`` separated by white space (several while rotating).
    timeout
        For one request, from resolving to the last byte.
    """

    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    timeout: timedelta = timedelta(seconds=10)


def problems(settings: WebhookRouting, reach: Reach) -> list[str]:
    """Say what is wrong with the settings, each with its key; no value is quoted."""
    found = []
    try:
        reach.outside.check(settings.url)
    except OutgoingError as error:
        found.append(f"url: {error}")
    try:
        parse_secrets(settings.secret)
    except ValueError as error:
        found.append(f"secret: {error}")
    if settings.timeout <= timedelta():
        found.append("timeout: must be longer than 0")
    return found


class WebhookRouter:
    """Posts the route, and trusts the receiver once it returns the same route."""

    def __init__(self, settings: WebhookRouting, client: OutgoingClient) -> None:
        self._url = settings.url
        self._secrets = parse_secrets(settings.secret)
        self._timeout = settings.timeout.total_seconds()
        self._client = client

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        body = document.write(route)
        headers = self._signed(f"{_mark(route.adapter)}_{route.epoch}_{route.generation}", body)
        reply = self._answer(
            lambda: self._client.post(
                self._url, body=body, headers=_JSON | headers, timeout=self._timeout
            )
        )
        if reply.status == HTTPStatus.CONFLICT:
            raise RouterFailed(
                f"{redacted(self._url)} holds a newer route than generation {route.generation}"
                f" of epoch {route.epoch}"
            )
        if not HTTPStatus(200) <= reply.status < HTTPStatus(300):
            raise RouterFailed(f"{redacted(self._url)} answered the route with {reply.status}")

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        joint = "&" if "?" in self._url else "?"
        url = f"{self._url}{joint}adapter={quote(adapter, safe='')}"
        headers = self._signed(f"{_mark(adapter)}_read", b"")
        reply = self._answer(lambda: self._client.get(url, headers=headers, timeout=self._timeout))
        if reply.status == HTTPStatus.NOT_FOUND:
            return None
        if reply.status != HTTPStatus.OK or reply.truncated:
            raise RouterFailed(f"{redacted(self._url)} answered {reply.status} when asked")
        try:
            return document.read(reply.body_start, adapter)[1]
        except document.NotARoute as error:
            raise RouterFailed(f"{redacted(self._url)}: {error}") from None

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        moment = int(time.time())
        return signed_headers(self._secrets, message_id, timestamp=moment, body=body)

    def _answer(self, ask: Callable[[], Reply]) -> Reply:
        try:
            return ask()
        except OutgoingError as error:
            raise RouterFailed(f"{redacted(self._url)}: {error}") from None


def _mark(adapter: str) -> str:
    """Return a short name of an adapter for message ids, which allow fewer characters."""
    return f"route_{hashlib.sha256(adapter.encode()).hexdigest()[:24]}"
