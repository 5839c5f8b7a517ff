"""The service as the command line uses it: HTTP with a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
import typer

from monitor.cli import screen
from monitor.cli.failures import CommandFailed, NotAnswering

Shape = TypeVar("Shape")

PATIENCE = 75.0
"""Seconds for an answer: longer than the longest wait that the service grants."""
UPLOAD_PATIENCE = 600.0
_LATER = frozenset({408, 429})
"""Statuses by which a service asks to come again."""


def read(answer: object, shape: type[Shape]) -> Shape:
    """Read an answer into its shape; fields of a later release are left out."""
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise CommandFailed(
            f"the service answers otherwise than this release of the command reads it ({error})"
        ) from None


def place(*parts: str | int) -> str:
    """Write a path; a slash inside a name stays part of the name.

    >>> place("adapters", "acme/support")
    '/adapters/acme%2Fsupport'
    """
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


class Service:
    """One running service.

    Every answer that is not a success becomes :class:`CommandFailed` with the service's own
    words (RFC 9457 ``title`` and ``detail``). ``found`` returns address and key. It is
    called at the first request, so that errors in a command's words are reported first.
    """

    def __init__(self, found: Callable[[], tuple[str, str]], *, as_json: bool = False) -> None:
        self._found = found
        self.as_json = as_json

    @cached_property
    def url(self) -> str:
        """The service's address, without a slash at the end."""
        return self._address[0].rstrip("/")

    @cached_property
    def _address(self) -> tuple[str, str]:
        return self._found()

    @cached_property
    def _client(self) -> httpx2.Client:
        key = self._address[1]
        if not key.isascii():
            raise CommandFailed("the key is none that `driftline keys create` made")
        try:
            return httpx2.Client(
                base_url=self.url,
                headers={"authorization": f"Bearer {key}"},
                timeout=httpx2.Timeout(PATIENCE, connect=5.0),
                trust_env=False,
                # reading the system's certificates is a tenth of a command's time
                verify=not self.url.lower().startswith("http://"),
            )
        except httpx2.InvalidURL as error:
            raise CommandFailed(f"{self.url}: no address of a service ({error})") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "_client" in vars(self):
            self._client.close()

    def show(self, answer: object, *, code: int = 0) -> None:
        """Print an answer unchanged with ``--json``, and end the command there."""
        if self.as_json:
            screen.as_json(answer)
            raise typer.Exit(code)

    def shown(self, answer: object, shape: type[Shape]) -> Shape:
        """As :meth:`show`; without ``--json`` read the answer into its shape."""
        self.show(answer)
        return read(answer, shape)

    def look(self, path: str, shape: type[Shape], **parameters: object) -> Shape:
        """GET a document under ``/v1``, as :meth:`shown`."""
        return self.shown(self.get(path, **parameters), shape)

    def order(self, path: str, body: object, shape: type[Shape]) -> Shape:
        """POST JSON under ``/v1``, as :meth:`shown`."""
        return self.shown(self.post(path, body), shape)

    def get(self, path: str, **parameters: object) -> Any:
        """GET a JSON document under ``/v1``."""
        return self._json(lambda: self._client.get(f"/v1{path}", params=_given(parameters)))

    def found(self, path: str) -> Any | None:
        """GET a JSON document under ``/v1``; None where there is none."""
        with self._reached():
            answer = self._client.get(f"/v1{path}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return self._json(lambda: answer)

    def lines(self, path: str, **parameters: object) -> Iterator[str]:
        """GET the lines of a stream of NDJSON under ``/v1``."""
        asked = self._client.stream("GET", f"/v1{path}", params=_given(parameters))
        with self._reached(), asked as answer:
            if not answer.is_success:
                answer.read()
                _raise(answer)
            yield from answer.iter_lines()

    def pages(self, path: str, shape: type[Shape], **parameters: object) -> Iterator[Shape]:
        """GET the items of a list under ``/v1``, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **parameters)
            yield from read(page["items"], list[shape])  # type: ignore[valid-type]
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

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NotAnswering(
                f"cannot reach {self.url} ({error}); is `driftline serve` running there?"
            ) from None

    def _json(self, send: Callable[[], httpx2.Response]) -> Any:
        with self._reached():
            answer = send()
        if not answer.is_success:
            _raise(answer)
        try:
            return answer.json()
        except ValueError:
            raise CommandFailed(f"{self.url} answers, but not as Driftline does") from None


def _given(parameters: Mapping[str, object]) -> dict[str, str | list[str]]:
    """Leave out parameters that were not given; a list is repeated."""
    return {
        key: [str(one) for one in value] if isinstance(value, list) else str(value)
        for key, value in parameters.items()
        if value is not None
    }


def _raise(answer: httpx2.Response) -> NoReturn:
    if answer.is_server_error or answer.status_code in _LATER:
        raise NotAnswering(_problem(answer))
    raise CommandFailed(_problem(answer))


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
    # the detail already names a single wrong field
    lines += [f"  {_field(item)}" for item in errors if len(errors) > 1]
    return "\n".join(lines)


def _field(item: Mapping[str, Any]) -> str:
    where = item.get("pointer") or item.get("parameter")
    where = f"line {item['line']}" if item.get("line") else where
    return f"{where}: {item.get('detail')}" if where else str(item.get("detail"))


def local_key(data_dir: Path) -> str:
    """Return the admin key of the first run; raises CommandFailed with the alternatives."""
    path = data_dir / "admin.key"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandFailed(
            f"no key: set DRIFTLINE_KEY, or run where {path} can be read ({error.strerror})"
        ) from None
