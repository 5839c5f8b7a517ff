"""Answer without an engine, in the form that OpenAI clients know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.types import Send

_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRefusal:
    """An answer given without an engine."""

    status: int
    message: str
    kind: str
    code: str
    retry_after: int | None = None
    """Seconds after which the same request is answered."""

    async def send(self, send: Send) -> None:
        """Send the answer."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        body = msgspec.json.encode({"error": error})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        if self.status == _UNAUTHORIZED:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


UNREACHABLE = GatewayRefusal(
    status=502,
    message="No engine could be reached.",
    kind="server_error",
    code="engine_unreachable",
)
TOO_SLOW = GatewayRefusal(
    status=504,
    message="The engine did not answer in time.",
    kind="server_error",
    code="engine_timeout",
)
NOT_PASSED_ON = GatewayRefusal(
    status=403,
    message="The gateway does not pass this path on: it is not one that clients ask.",
    kind="permission_error",
    code="path_not_passed",
)
NO_ROOM = GatewayRefusal(
    status=429,
    message="Too many bodies are under way; send this one again.",
    kind="rate_limit_error",
    code="too_many_bodies",
)
NO_JSON = GatewayRefusal(
    status=400,
    message="The body is not a JSON object.",
    kind="invalid_request_error",
    code="body_not_json",
)
ENCODED = GatewayRefusal(
    status=415,
    message="The body is read without Content-Encoding.",
    kind="invalid_request_error",
    code="body_encoded",
)


NO_KEY = GatewayRefusal(
    status=401,
    message="Send `Authorization: Bearer dl_...` with a key of the scope ask that works.",
    kind="invalid_request_error",
    code="invalid_api_key",
)
NO_KEYS_KNOWN = GatewayRefusal(
    status=503,
    message="The gateway has not been told any keys yet.",
    kind="server_error",
    code="keys_unknown",
    retry_after=5,
)
NOT_FOR_THIS_KEY = GatewayRefusal(
    status=404,
    message="The model that the body names does not exist, or this key may not ask for it.",
    kind="invalid_request_error",
    code="model_not_found",
)


def too_often(wait: int) -> GatewayRefusal:
    """Refuse a request beyond its key's limit, for ``wait`` seconds."""
    return GatewayRefusal(
        status=429,
        message="This key has asked more often than it may.",
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=wait,
    )


def too_large(limit: int) -> GatewayRefusal:
    """Refuse a body; the message names the largest permitted size in bytes."""
    return GatewayRefusal(
        status=413,
        message=f"The body is over {limit:,} bytes.",
        kind="invalid_request_error",
        code="body_too_large",
    )
