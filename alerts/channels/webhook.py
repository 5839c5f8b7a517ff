"""An HTTPS endpoint of your own, signed as Standard Webhooks describes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from alerts.delivery import Delivered
from alerts.formats import WebhookBody
from alerts.grouped import group_body_of
from alerts.message import Alert
from alerts.outgoing import OutgoingClient
from alerts.posting import check_timeout, post_body
from alerts.signature import parse_secrets, signed_headers


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Keys of a ``[[channels]]`` entry of kind ``webhook``.

    secret
        One or several ``whsec_…`` separated by white space (several while rotating).
    timeout
        Total seconds for one attempt.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)
    body: WebhookBody = WebhookBody.DRIFTLINE
    timeout: float = 15.0

    def __post_init__(self) -> None:
        parse_secrets(self.secret)
        check_timeout(self.timeout)


class Webhook:
    """Posts the configured body, byte for byte as signed."""

    def __init__(self, settings: WebhookSettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._secrets = parse_secrets(settings.secret)
        self._client = client
        client.check(settings.url)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return self.deliver_together([alert], message_id)

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        body = group_body_of(alerts, self._settings.body)
        now = int(time.time())
        return post_body(
            self._client,
            self._settings.url,
            body,
            headers=signed_headers(self._secrets, message_id, timestamp=now, body=body),
            timeout=self._settings.timeout,
        )
