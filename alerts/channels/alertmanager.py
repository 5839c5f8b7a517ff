"""Post to a Prometheus Alertmanager through its API v2, as Prometheus does.

https://prometheus.io/docs/alerting/latest/alerts_api/

Alertmanager groups, silences, repeats and routes by itself. In return, firing alerts must be
repeated: an alert not repeated within its ``resolve_timeout`` counts as resolved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from alerts.delivery import Delivered
from alerts.formats import annotations_of, end_of, fitting, labels_of
from alerts.message import Alert
from alerts.outgoing import OutgoingClient
from alerts.posting import check_timeout, post_body

PATH: Final = "/api/v2/alerts"
AT_ONCE: Final = 50
"""Alerts in one request when all are repeated."""
TEST_NAME: Final = "DriftlineTest"
NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerSettings:
    """Keys of a ``[[channels]]`` entry of kind ``alertmanager``.

    url
        Address of one instance, as in a browser; each instance of a cluster is a channel of its
        own.
    token
        Bearer token, if a proxy in front of it requires one.
    resolve_timeout
        Seconds; not more than the Alertmanager's own. Alerts are repeated every third of it.
    timeout
        Total seconds for one request.
    """

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    resolve_timeout: float = 300.0
    timeout: float = 15.0

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        if not self.resolve_timeout > 0:
            raise ValueError(f"resolve_timeout must be positive, not {self.resolve_timeout}")

    @property
    def endpoint(self) -> str:
        """The URL that alerts are posted to."""
        return self.url.rstrip("/") + PATH


class Alertmanager:
    """Posts each alert once, and repeats open alerts before Alertmanager resolves them."""

    def __init__(self, settings: AlertmanagerSettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._client = client
        client.check(settings.url)

    @property
    def refresh_every(self) -> float:
        """Seconds between two calls of :meth:`refresh`."""
        return self._settings.resolve_timeout / 3

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return self._post([postable(alert, message_id)])

    def refresh(self, messages: Sequence[tuple[Alert, str]]) -> None:
        """Repeat each incident's last message, under the same message id."""
        for begin in range(0, len(messages), AT_ONCE):
            self._post([postable(*message) for message in messages[begin : begin + AT_ONCE]])

    def _post(self, alerts: Sequence[bytes]) -> Delivered:
        token = self._settings.token
        return post_body(
            self._client,
            self._settings.endpoint,
            b"[%s]" % b",".join(alerts),
            headers={} if token is None else {"authorization": f"Bearer {token}"},
            timeout=self._settings.timeout,
        )


def postable(alert: Alert, message_id: str) -> bytes:
    """Render one alert of the request; under 20 kB.

    The labels are its identity. A firing alert has no end, so the Alertmanager's
    ``resolve_timeout`` ends it once nobody repeats it.
    """
    return fitting(alert, partial(_postable, message_id=message_id))


def _postable(alert: Alert, *, truncated: bool, message_id: str) -> bytes:
    labels = label_names(labels_of(alert))
    body: dict[str, object] = {
        "labels": labels | {"alertname": TEST_NAME} if alert.test else labels,
        "annotations": {
            **annotations_of(alert, truncated=truncated),
            "incident": alert.id,
            "message_id": message_id,
        },
        "startsAt": alert.started_at.isoformat(),
    }
    if not alert.firing:
        body["endsAt"] = end_of(alert).isoformat()
    if alert.links.incident is not None:
        body["generatorURL"] = alert.links.incident
    return msgspec.json.encode(body)


def label_names(labels: Mapping[str, str]) -> dict[str, str]:
    """Rename labels so that every Alertmanager accepts them; of two equal names the later wins.

    >>> label_names({"team.name": "nlp", "1st": "a"})
    {'team_name': 'nlp', '_1st': 'a'}
    """
    return {_label_name(name): value for name, value in labels.items()}


def _label_name(name: str) -> str:
    plain = NOT_IN_A_NAME.sub("_", name)
    return f"_{plain}" if not plain or plain[0].isdecimal() else plain
