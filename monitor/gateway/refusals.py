"""Answer without an engine, in the form that OpenAI clients know."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from starlette.types import Send


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRefusal:
    """An answer given without an engine."""

    status: int
    message: str
    kind: str
    code: str

    async def send(self, send: Send) -> None:
        """Send the answer."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        body = msgspec.json.encode({"error": error})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
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


def too_large(limit: int) -> GatewayRefusal:
    """Refuse a body; the message names the largest permitted size in bytes."""
    return GatewayRefusal(
        status=413,
        message=f"The body is over {limit:,} bytes.",
        kind="invalid_request_error",
        code="body_too_large",
    )
