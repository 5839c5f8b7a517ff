"""Post to any URL, with a body that a Jinja template of the config writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from alerts.delivery import Delivered, DeliveryFailed
from alerts.message import Alert
from alerts.outgoing import OutgoingClient, redacted
from alerts.posting import check_timeout, post_body
from alerts.templating import TemplateRefused, checked

MESSAGE_ID: Final = "idempotency-key"
"""The header that lets a receiver recognise a message that it has seen."""
_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)?", re.ASCII)
_PRINTABLE: Final = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomSettings:
    """Keys of a ``[[channels]]`` entry of kind ``custom``.

    template
        The body in Jinja; by ``template_file`` it is read from a file.
    content_type
        Of the body, which is UTF-8. If it is JSON, the template must write JSON.
    authorization
        The whole value of the header, such as ``Bearer …``; a secret.
    timeout
        Total seconds for one attempt.
    """

    url: str = field(repr=False)
    template: str
    content_type: str = "application/json"
    authorization: str | None = field(default=None, repr=False)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if _TYPE.fullmatch(self.content_type) is None:
            raise ValueError("content_type must be a media type such as text/plain")
        if self.authorization is not None and _PRINTABLE.fullmatch(self.authorization) is None:
            raise ValueError("authorization must be one line of printable ASCII")
        check_timeout(self.timeout)
        checked(self.template, content_type=self.content_type)


class CustomWebhook:
    """Posts what the template makes of each message."""

    def __init__(self, settings: CustomSettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._template = checked(settings.template, content_type=settings.content_type)
        self._client = client
        client.check(settings.url)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return self.deliver_together([alert], message_id)

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        """Post one message.

        A message that the template fails on is refused for good: the fallback is told at once, and
        the dead letter can be sent again once the template is mended.
        """
        own = self._settings
        try:
            body = self._template.render(alerts, message_id)
        except TemplateRefused as error:
            said = f"{redacted(own.url)}: the template fails on this message, {error.where}"
            raise DeliveryFailed(said, permanent=True) from None
        secret = {} if own.authorization is None else {"authorization": own.authorization}
        return post_body(
            self._client,
            own.url,
            body,
            content_type=own.content_type,
            headers={MESSAGE_ID: message_id, **secret},
            timeout=own.timeout,
        )
