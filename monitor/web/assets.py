"""Scripts and styles, served from memory under names that change with their content."""

from __future__ import annotations

import gzip
import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

STATIC: Final = Path(__file__).parent / "static"
FOREVER: Final = "public, max-age=31536000, immutable"
WORTH_PACKING: Final = 1024

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(slots=True)
class Asset:
    """One file; read at its first request, and kept."""

    path: Path
    media_type: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _plain: bytes | None = None
    _packed: bytes | None = None

    @property
    def plain(self) -> bytes:
        with self._lock:
            if self._plain is None:
                self._plain = self.path.read_bytes()
            return self._plain

    @property
    def packed(self) -> bytes:
        plain = self.plain
        with self._lock:
            if self._packed is None:
                self._packed = gzip.compress(plain, compresslevel=6, mtime=0)
            return self._packed


class Assets:
    """All files that pages refer to."""

    def __init__(self) -> None:
        files = [path for path in sorted(STATIC.iterdir()) if path.suffix in _TYPES]
        self._assets = {path.name: Asset(path, _TYPES[path.suffix]) for path in files}
        self._tags = {name: _tag(asset.path) for name, asset in self._assets.items()}

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
            return self._answer(name, request)

        return router

    def _answer(self, name: str, request: Request) -> Response:
        asset = self._assets[name]
        headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        body = asset.plain
        if len(body) > WORTH_PACKING and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = asset.packed, "gzip"
        return Response(body, media_type=asset.media_type, headers=headers)


def _tag(path: Path) -> str:
    """Return a short name for a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
