"""The service as the command line sees it: HTTP with a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from monitor.cli.failures import CommandFailed


class Service:
    """One running service.

    Every answer that is not a success becomes :class:`CommandFailed` with the service's
    own words (RFC 9457 ``title`` and ``detail``).
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(75.0, connect=5.0),
            trust_env=False,
        )

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
        wanted = {key: str(value) for key, value in parameters.items() if value is not None}
        return self._json(lambda: self._client.get(f"/v1{path}", params=wanted))

    def post(self, path: str, body: object = None, **parameters: object) -> Any:
        """POST JSON under ``/v1``."""
        wanted = {key: str(value) for key, value in parameters.items() if value is not None}
        return self._json(lambda: self._client.post(f"/v1{path}", json=body, params=wanted))

    def put(self, path: str, body: object) -> Any:
        """PUT JSON under ``/v1``."""
        return self._json(lambda: self._client.put(f"/v1{path}", json=body))

    def upload(self, path: str, chunks: Iterator[bytes], **parameters: str) -> Any:
        """POST a stream of NDJSON under ``/v1``."""
        return self._json(
            lambda: self._client.post(
                f"/v1{path}",
                content=chunks,
                params=parameters,
                headers={"content-type": "application/x-ndjson"},
                timeout=httpx2.Timeout(600.0, connect=5.0),
            )
        )

    def _json(self, send: Callable[[], httpx2.Response]) -> Any:
        try:
            answer = send()
        except httpx2.HTTPError as error:
            raise CommandFailed(
                f"cannot reach {self.url} ({error}); is `driftline serve` running there?"
            ) from None
        if answer.is_success:
            return answer.json() if answer.content else None
        raise CommandFailed(_problem(answer))


def _problem(answer: httpx2.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"{answer.request.method} {answer.request.url.path}: {answer.status_code}"
    lines = [f"{body.get('title', answer.status_code)}: {body.get('detail', '')}".rstrip(": ")]
    lines += [f"  {item}" for item in body.get("errors", ())]
    return "\n".join(lines)


def local_key(data_dir: Path) -> str:
    """The admin key that the first run wrote; raises CommandFailed with the alternatives."""
    path = data_dir / "admin.key"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandFailed(
            f"no key: set DRIFTLINE_KEY, or run where {path} can be read ({error.strerror})"
        ) from None
