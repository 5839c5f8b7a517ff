"""The service as the command line sees it: HTTP with a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from monitor.cli.failures import CommandFailed

PATIENCE = 75.0
"""Seconds for an answer: longer than the longest wait that the service grants."""
UPLOAD_PATIENCE = 600.0


def place(*parts: str | int) -> str:
    """Write a path; a slash inside a name stays part of the name.

    >>> place("adapters", "acme/support")
    '/adapters/acme%2Fsupport'
    """
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


class Service:
    """One running service.

    Every answer that is not a success becomes :class:`CommandFailed` with the service's
    own words (RFC 9457 ``title`` and ``detail``).
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        if not key.isascii():
            raise CommandFailed("the key is none that `driftline keys create` made")
        try:
            self._client = httpx2.Client(
                base_url=self.url,
                headers={"authorization": f"Bearer {key}"},
                timeout=httpx2.Timeout(PATIENCE, connect=5.0),
                trust_env=False,
            )
        except httpx2.InvalidURL as error:
            raise CommandFailed(f"{url}: no address of a service ({error})") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, path: str, **parameters: object) -> Any:
        """GET a JSON document under ``/v1``."""
        return self._json(lambda: self._client.get(f"/v1{path}", params=_given(parameters)))

    def pages(self, path: str, **parameters: object) -> Iterator[Any]:
        """GET the items of a list under ``/v1``, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **parameters)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def post(self, path: str, body: object = None, **parameters: object) -> Any:
        """POST JSON under ``/v1``."""
        return self._json(
            lambda: self._client.post(f"/v1{path}", json=body, params=_given(parameters))
        )

    def put(self, path: str, body: object, *, headers: Mapping[str, str] | None = None) -> Any:
        """PUT JSON under ``/v1``."""
        return self._json(lambda: self._client.put(f"/v1{path}", json=body, headers=headers))

    def delete(self, path: str) -> Any:
        """DELETE under ``/v1``."""
        return self._json(lambda: self._client.delete(f"/v1{path}"))

    def upload(self, path: str, chunks: Iterator[bytes], **parameters: str) -> Any:
        """POST a stream of NDJSON under ``/v1``."""
        return self._json(
            lambda: self._client.post(
                f"/v1{path}",
                content=chunks,
                params=parameters,
                headers={"content-type": "application/x-ndjson"},
                timeout=httpx2.Timeout(UPLOAD_PATIENCE, connect=5.0),
            )
        )

    def _json(self, send: Callable[[], httpx2.Response]) -> Any:
        try:
            answer = send()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise CommandFailed(
                f"cannot reach {self.url} ({error}); is `driftline serve` running there?"
            ) from None
        if not answer.is_success:
            raise CommandFailed(_problem(answer))
        try:
            return answer.json()
        except ValueError:
            raise CommandFailed(f"{self.url} answers, but not as Driftline does") from None


def _given(parameters: Mapping[str, object]) -> dict[str, str | list[str]]:
    """Leave out what was not given; a list is repeated."""
    return {
        key: [str(one) for one in value] if isinstance(value, list) else str(value)
        for key, value in parameters.items()
        if value is not None
    }


def _problem(answer: httpx2.Response) -> str:
    said = f"{answer.request.method} {answer.request.url.path}: HTTP {answer.status_code}"
    try:
        body = answer.json()
    except ValueError:
        return f"{said}; does Driftline answer at this address?"
    if not isinstance(body, dict) or "title" not in body:
        return f"{said}; does Driftline answer at this address?"
    lines = [f"{body['title']}: {body.get('detail', '')}".rstrip(": ")]
    errors = body.get("errors") or []
    # a single wrong field is told by the detail already
    lines += [f"  {_field(item)}" for item in errors if len(errors) > 1]
    return "\n".join(lines)


def _field(item: Mapping[str, Any]) -> str:
    where = item.get("pointer") or item.get("parameter")
    where = f"line {item['line']}" if item.get("line") else where
    return f"{where}: {item.get('detail')}" if where else str(item.get("detail"))


def local_key(data_dir: Path) -> str:
    """The admin key that the first run wrote; raises CommandFailed with the alternatives."""
    path = data_dir / "admin.key"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandFailed(
            f"no key: set DRIFTLINE_KEY, or run where {path} can be read ({error.strerror})"
        ) from None
