"""Scripts and styles, served from memory under names that change with their content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from monitor.web.packing import packed

STATIC: Final = Path(__file__).parent / "static"
FOREVER: Final = "public, max-age=31536000, immutable"

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Assets:
    """All files that pages refer to."""

    def __init__(self) -> None:
        files = [path for path in STATIC.iterdir() if path.suffix in _TYPES]
        self._bodies = {path.name: path.read_bytes() for path in files}
        self._tags = {name: _tag(body) for name, body in self._bodies.items()}

    def url(self, name: str) -> str:
        """Return the address of a file; it changes when the file does."""
        return f"/assets/{self._tags[name]}/{name}"

    def router(self) -> APIRouter:
        """Serve the files; open to everyone, the login page needs them."""
        router = APIRouter()

        @router.get("/assets/{tag}/{name}")
        def get_asset(tag: str, name: str, request: Request) -> Response:
            if self._tags.get(name) != tag:
                raise HTTPException(404)
            headers, media_type = {"Cache-Control": FOREVER}, _TYPES[Path(name).suffix]
            answer = Response(self._bodies[name], headers=headers, media_type=media_type)
            return packed(answer, request)

        return router


def _tag(body: bytes) -> str:
    """Return a short name for a file's content."""
    return hashlib.sha256(body).hexdigest()[:12]
