"""Send one HTTP request for a channel, and read its answer as the outbox needs it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from alerts.delivery import Delivered, DeliveryFailed, receipt
from alerts.outgoing import OutgoingClient, OutgoingError, redacted


def post_body(
    client: OutgoingClient,
    url: str,
    body: bytes,
    *,
    timeout: float,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Delivered:
    """Post a body and wait for the receiver's answer.

    Parameters
    ----------
    timeout
        Total seconds for the request.

    Raises
    ------
    DeliveryFailed
        No answer, or one that refuses the message. The reason names only scheme, host and port of
        ``url``.
    """
    target = redacted(url)
    try:
        reply = client.post(
            url,
            body=body,
            headers={"content-type": content_type, **(headers or {})},
            timeout=timeout,
        )
    except OutgoingError as error:
        # Blocked is retried as well: a name that led inside for a moment must not lose a page.
        raise DeliveryFailed(f"{target}: {error}") from error
    return receipt(reply, target=target, now=time.time())


def check_timeout(seconds: float) -> None:
    """Refuse a timeout that is not a positive number of seconds, with ValueError."""
    if not seconds > 0:
        raise ValueError(f"timeout must be positive, not {seconds}")
