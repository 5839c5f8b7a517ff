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
    """A route whose page is packed with gzip where the browser takes that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Pack what the route's own handler answers."""
        handler = super().get_route_handler()

        async def packed(request: Request) -> Response:
            answer = await handler(request)
            if isinstance(answer, HTMLResponse):
                answer.headers.add_vary_header("Accept-Encoding")
                if takes_gzip(request) and len(answer.body) > WORTH_PACKING:
                    pack(answer)
            return answer

        return packed


def takes_gzip(request: Request) -> bool:
    """Whether the client takes gzip."""
    return "gzip" in request.headers.get("accept-encoding", "")


def pack(answer: Response) -> None:
    """Pack an answer's body."""
    answer.body = gzip.compress(answer.body, compresslevel=_LEVEL, mtime=0)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.body))
