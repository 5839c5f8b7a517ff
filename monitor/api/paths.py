"""Names with a slash in a path.

Model names such as ``acme/support`` are common, and servers decode ``%2F`` before routing,
which would cut the name in two. The middleware keeps an encoded slash encoded while the
route is found, and ``PathName`` decodes it for the handler.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator
from starlette.types import ASGIApp, Receive, Scope, Send

LONGEST_NAME: Final = 128
LARGEST_NUMBER: Final = 2**63 - 1
"""The largest number that the database can hold."""


class KeepSlashes:
    """ASGI middleware: ``%2F`` and ``%25`` reach the route still encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"%" in scope.get("raw_path", b""):
            scope["path"] = keep_slashes(scope["raw_path"])
        await self._app(scope, receive, send)


def keep_slashes(raw: bytes) -> str:
    """Decode a raw path, except for its encoded slashes and per cent signs.

    >>> keep_slashes(b"/v1/adapters/acme%2Fsupport%20v2")
    '/v1/adapters/acme%2Fsupport v2'
    """
    text = raw.split(b"?", 1)[0].decode("latin-1")
    kept = text.replace("%25", "%2525").replace("%2F", "%252F").replace("%2f", "%252F")
    return unquote(kept)


def decode_name(part: str) -> str:
    """Return the name behind a path part.

    >>> decode_name("acme%2Fsupport")
    'acme/support'
    """
    name = part.replace("%2F", "/").replace("%25", "%")
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ValueError(f"a name has 1 to {LONGEST_NAME} characters, this one {len(name)}")
    if "\x00" in name:
        raise ValueError("a name holds no NUL character")
    return name


AdapterName = Annotated[
    str,
    AfterValidator(decode_name),
    Path(description="Name of the adapter; `/` in it is written `%2F`."),
]
VersionName = Annotated[str, AfterValidator(decode_name), Path(description="Name of the version.")]
