"""Post to Opsgenie's Alert API: create, acknowledge and close alerts, and add notes to them.

https://docs.opsgenie.com/docs/alert-api

Jira Service Management takes the same requests as its integration events:
https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v1/api-group-integration-events/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

import msgspec

from alerts.brief import Brief, brief
from alerts.delivery import Delivered
from alerts.formats import LONGEST_NAME, fitting
from alerts.message import Alert
from alerts.outgoing import OutgoingClient
from alerts.paragraphs import links, one_line, paragraphs
from alerts.posting import check_timeout, post_body
from alerts.types import Reason, Severity, Status
from alerts.words import cut

PATH: Final = "/v2/alerts"
LONGEST_MESSAGE: Final = 130
LONGEST_DESCRIPTION: Final = 15_000
LONGEST_ENTITY: Final = 512
LONGEST_ID: Final = 512
KEY: Final = re.compile(r"[!-~]+")
SOURCE: Final = "driftline"
PRIORITIES: Mapping[Severity, str] = {Severity.PAGE: "P1", Severity.TICKET: "P3"}
"""The highest of five, and the one that an alert has unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsgenieSettings:
    """Keys of a ``[[channels]]`` entry of kind ``opsgenie``.

    key
        Of an integration of type API, without ``GenieKey`` before it.
    url
        Where the API is, with or without ``/v2/alerts`` at its end.
    timeout
        Total seconds for one request.
    """

    key: str = field(repr=False)
    url: str = field(default="https://api.opsgenie.com", repr=False)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if KEY.fullmatch(self.key) is None:
            raise ValueError("key must be the key of an API integration, without GenieKey")
        check_timeout(self.timeout)

    @property
    def endpoint(self) -> str:
        """The URL that alerts are created at."""
        return self.url.rstrip("/").removesuffix(PATH) + PATH


class Opsgenie:
    """Opens one alert for each incident and severity, as for PagerDuty.

    What is created under the alias of an open alert only raises that alert's count, so an update is
    a note as well. When an acknowledgement ends, the alert is closed and opened anew.
    """

    def __init__(self, settings: OpsgenieSettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._client = client
        client.check(settings.endpoint)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        """Send one request, or two.

        When a ticket has become a page, the page is opened first. When an acknowledgement has
        ended, the acknowledged alert is closed first. An update is noted on the alert, which is
        opened again if somebody has closed it there.
        """
        if not alert.firing:
            return self._follow_up("close", alert, alert.severity)
        if alert.status is Status.ACKNOWLEDGED:
            return self._follow_up("acknowledge", alert, alert.severity)
        if alert.notification_reason is Reason.LET_GO:
            self._follow_up("close", alert, alert.severity)
        taken = self._post(self._settings.endpoint, opening(alert, message_id))
        if alert.status is Status.WORSENED:
            return self._follow_up("close", alert, Severity.TICKET)
        if alert.notification_reason is Reason.UPDATED:
            return self._follow_up("notes", alert, alert.severity, note=_note(alert, message_id))
        return taken

    def _follow_up(
        self,
        action: Literal["acknowledge", "close", "notes"],
        alert: Alert,
        severity: Severity,
        *,
        note: str = "",
    ) -> Delivered:
        place = f"{self._settings.endpoint}/{alias(alert.id, severity)}/{action}"
        said = {"note": note} if note else {}
        return self._post(
            f"{place}?identifierType=alias", msgspec.json.encode({"source": SOURCE, **said})
        )

    def _post(self, url: str, body: bytes) -> Delivered:
        return post_body(
            self._client,
            url,
            body,
            headers={"authorization": f"GenieKey {self._settings.key}"},
            timeout=self._settings.timeout,
        )


def opening(alert: Alert, message_id: str) -> bytes:
    """Render the request that opens an alert; under 20 kB."""
    return fitting(alert, partial(_opening, message_id=message_id))


def alias(incident: str, severity: Severity) -> str:
    """Name the alert of one incident at one severity, by what may stand in an address's path."""
    return f"{SOURCE}-{hashlib.sha256(incident.encode()).hexdigest()[:32]}-{severity}"


def _opening(alert: Alert, *, truncated: bool, message_id: str) -> bytes:
    said = brief(alert)
    return msgspec.json.encode(
        {
            "message": cut(one_line(said.title), LONGEST_MESSAGE),
            "alias": alias(alert.id, alert.severity),
            "description": cut(_description(alert, said), LONGEST_DESCRIPTION),
            "priority": PRIORITIES[alert.severity],
            "tags": [SOURCE, alert.kind.value, alert.severity.value],
            "entity": cut(_entity(alert), LONGEST_ENTITY),
            "source": SOURCE,
            "details": {
                **_details(alert),
                "message_id": message_id,
                "truncated": "true" if truncated else "false",
            },
        }
    )


def _description(alert: Alert, said: Brief) -> str:
    parts = [*paragraphs(alert, said), ("Details", said.details)]
    return "\n".join(f"{name}: {one_line(text)}" for name, text in parts if text)


def _entity(alert: Alert) -> str:
    together = alert.together
    if together is None:
        return f"{alert.adapter}@{alert.version}"
    return together.base or "unknown base model"


def _details(alert: Alert) -> dict[str, str]:
    """Name the incident, and link to it; all details together may have 8,000 characters."""
    names = {
        "adapter": alert.adapter,
        "version": alert.version,
        "owner": alert.owner or "",
        "tier": alert.tier,
        "blame": alert.blame.value,
    }
    given = {name: cut(text, LONGEST_NAME) for name, text in names.items() if text}
    return {"incident_id": cut(alert.id, LONGEST_ID), **given, **dict(links(alert))}


def _note(alert: Alert, message_id: str) -> str:
    said = "" if alert.update is None else alert.update.text
    return f"{cut(one_line(said), LONGEST_DESCRIPTION)} ({message_id})"
