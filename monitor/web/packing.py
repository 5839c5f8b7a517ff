"""Pages are sent packed to who takes that: one that refreshes is sent again and again.

Nothing on a page is a secret that somebody could guess by its packed length: a session's cookie
stands in a header, and settings that are secret are not shown.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute

WORTH_PACKING: Final = 1024
_LEVEL: Final = 5
"""A page of 100 kB takes a few milliseconds; the next levels save little more."""


class PackedRoute(APIRoute):
    """A route whose page is packed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Pack what the route's own handler answers."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            answer = await handler(request)
            return packed(answer, request) if isinstance(answer, HTMLResponse) else answer

        return answered


def packed(answer: Response, request: Request) -> Response:
    """Pack an answer's body with gzip where the client takes that."""
    answer.headers.add_vary_header("Accept-Encoding")
    taken = "gzip" in request.headers.get("accept-encoding", "")
    if taken and len(answer.body) > WORTH_PACKING:
        answer.body = gzip.compress(answer.body, compresslevel=_LEVEL, mtime=0)
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Content-Length"] = str(len(answer.body))
    return answer
