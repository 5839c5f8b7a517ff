"""A hub as Hugging Face answers, with the files of one folder for each repository."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Repositories by name; ``broken`` requests are answered with 500 before it recovers."""

    folders: Mapping[str, Path]
    broken: int = 0
    asked: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        api = "/api/models/{org}/{name}"
        return Starlette(
            routes=[
                Route(f"{api}/revision/{{revision}}", self._repository),
                Route(api, self._repository),
                Route(f"{api}/paths-info/{{revision}}", self._paths, methods=["POST"]),
                Route(f"{api}/tree/{{revision}}/{{path:path}}", self._tree),
                Route(f"{api}/tree/{{revision}}", self._tree),
                Route("/{org}/{name}/resolve/{revision}/{path:path}", self._file),
            ]
        )

    def _folder(self, request: Request) -> Path | None:
        self.asked.append(request.url.path)
        return self.folders.get("{org}/{name}".format(**request.path_params))

    async def _repository(self, request: Request) -> Response:
        if self._folder(request) is None:
            return _none("RepoNotFound")
        name = "{org}/{name}".format(**request.path_params)
        return JSONResponse({"id": name, "sha": COMMIT, "siblings": [], "tags": []})

    async def _paths(self, request: Request) -> Response:
        folder = self._folder(request)
        if self.broken:
            self.broken -= 1
            return Response(status_code=503)
        if folder is None:
            return _none("RepoNotFound")
        form = await request.json()
        wanted = [folder / path for path in form["paths"]]
        return JSONResponse([_entry(folder, one) for one in wanted if one.is_file()])

    async def _tree(self, request: Request) -> Response:
        folder = self._folder(request)
        if folder is None:
            return _none("RepoNotFound")
        inside = folder / request.path_params.get("path", "")
        deep = request.query_params.get("recursive", "").lower() == "true"
        found = inside.rglob("*") if deep else inside.iterdir()
        return JSONResponse([_entry(folder, one) for one in sorted(found)])

    async def _file(self, request: Request) -> Response:
        folder = self._folder(request)
        file = None if folder is None else folder / request.path_params["path"]
        if file is None or not file.is_file():
            return _none("EntryNotFound")
        body, headers = file.read_bytes(), {"etag": '"e"', "x-repo-commit": COMMIT}
        asked = request.headers.get("range", "")
        if not asked:
            return Response(body, headers=headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = body[int(first) : int(last or len(body)) + 1]
        headers["content-range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
        return Response(part, status_code=206, headers=headers)


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    oid = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": oid, "size": 0}
    return {"type": "file", "path": name, "oid": oid, "size": path.stat().st_size}


def _none(code: str) -> Response:
    return Response(status_code=404, headers={"x-error-code": code})
