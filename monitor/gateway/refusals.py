"""Answer without an engine, in the form that OpenAI clients know."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import Send

_KINDS: Final = {403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class GatewayRefusal:
    """An answer given without an engine."""

    status: int
    code: str
    message: str
    retry_after: int | None = None
    """Seconds after which the same request is answered."""

    @property
    def _kind(self) -> str:
        server = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return _KINDS.get(self.status, "server_error" if server else "invalid_request_error")

    def response(self) -> Response:
        """Return the answer."""
        error = {"message": self.message, "type": self._kind, "param": None, "code": self.code}
        headers = {}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        body = msgspec.json.encode({"error": error})
        return Response(body, self.status, headers, media_type="application/json")

    async def send(self, send: Send) -> None:
        """Send the answer."""
        told = self.response()
        await send(
            {"type": "http.response.start", "status": self.status, "headers": told.raw_headers}
        )
        await send({"type": "http.response.body", "body": told.body, "more_body": False})


UNREACHABLE = GatewayRefusal(502, "engine_unreachable", "No engine could be reached.")
TOO_SLOW = GatewayRefusal(504, "engine_timeout", "The engine did not answer in time.")
NOT_PASSED_ON = GatewayRefusal(
    403,
    "path_not_passed",
    "The gateway does not pass this path on: it is not one that clients ask.",
)
NO_ROOM = GatewayRefusal(
    429, "too_many_bodies", "Too many bodies are under way; send this one again."
)
NO_JSON = GatewayRefusal(400, "body_not_json", "The body is not a JSON object.")
ENCODED = GatewayRefusal(415, "body_encoded", "The body is read without Content-Encoding.")


NO_KEY = GatewayRefusal(
    401,
    "invalid_api_key",
    "Send `Authorization: Bearer dl_...` with a key of the scope ask that works.",
)
NO_READER = GatewayRefusal(
    401,
    "invalid_api_key",
    "Send `Authorization: Bearer dl_...` with a key of the scope read that works.",
)
NO_KEYS_KNOWN = GatewayRefusal(
    503, "keys_unknown", "The gateway has not been told any keys yet.", retry_after=5
)
NOT_FOR_THIS_KEY = GatewayRefusal(
    404,
    "model_not_found",
    "The model that the body names does not exist, or this key may not ask for it.",
)


def too_often(wait: int) -> GatewayRefusal:
    """Refuse a request beyond its key's limit, for ``wait`` seconds."""
    return GatewayRefusal(
        429, "rate_limit_exceeded", "This key has asked more often than it may.", retry_after=wait
    )


def too_large(limit: int) -> GatewayRefusal:
    """Refuse a body; the message names the largest permitted size in bytes."""
    return GatewayRefusal(413, "body_too_large", f"The body is over {limit:,} bytes.")
