"""Post to a Microsoft Teams channel by a workflow's webhook: one adaptive card for each alert.

https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference

Every text is a ``TextRun``, in which Teams reads no Markdown, HTML or mention; addresses stand only
in actions that open them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from alerts.brief import brief
from alerts.delivery import Delivered
from alerts.formats import fitting
from alerts.grouped import IncidentLine, fitting_list, list_title, mark
from alerts.message import Alert
from alerts.outgoing import OutgoingClient
from alerts.pacing import MessageRate
from alerts.paragraphs import links, one_line, paragraphs, web_address
from alerts.posting import check_timeout, post_body

PACE: Final = MessageRate(per_second=1.0, burst=4)
"""Teams takes four requests a second of one webhook; a workflow's own limits are lower."""
LONGEST_TITLE: Final = 150
LONGEST_TEXT: Final = 800
LONGEST_NAME: Final = 90

Element = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamsSettings:
    """Keys of a ``[[channels]]`` entry of kind ``teams``.

    url
        The address that the workflow shows; a secret, because it alone permits posting.
    timeout
        Total seconds for one attempt.
    """

    url: str = field(repr=False)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        check_timeout(self.timeout)


class Teams:
    """Posts one card for each alert, and never edits it or replies to it."""

    def __init__(self, settings: TeamsSettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._client = client
        client.check(settings.url)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return self._post(teams_body(alert, message_id))

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        return self._post(teams_list(alerts, message_id))

    def _post(self, body: bytes) -> Delivered:
        return post_body(self._client, self._settings.url, body, timeout=self._settings.timeout)


def teams_body(alert: Alert, message_id: str) -> bytes:
    """Render the message; under 20 kB, where Teams takes 28."""
    return fitting(alert, partial(_body, message_id=message_id))


def teams_list(alerts: Sequence[Alert], message_id: str) -> bytes:
    """Render a message that lists several incidents, the most urgent first; under 20 kB."""
    return fitting_list(alerts, partial(_list, alerts, message_id))


def _body(alert: Alert, *, truncated: bool, message_id: str) -> bytes:
    said = brief(alert)
    footer = f"{_cut(alert.id)} ({message_id})"
    parts = [
        _paragraph(_run(f"{name} ", bold=True), _run(text))
        for name, text in paragraphs(alert, said)
    ]
    details = [_paragraph(_run(f"Details: {said.details}", subtle=True))] if said.details else []
    return _card(
        _cut(said.title, longest=LONGEST_TITLE),
        [*parts, *details],
        footer=f"shortened · {footer}" if truncated else footer,
        actions=[_opens(address) | {"title": text} for text, address in links(alert)],
    )


def _list(alerts: Sequence[Alert], message_id: str, lines: Sequence[IncidentLine]) -> bytes:
    lead, more = alerts[0], len(alerts) - len(lines)
    footer = [f"and {more} more"] if more else []
    footer += [f"Owner {_cut(lead.owner, longest=LONGEST_NAME)}"] if lead.owner else []
    return _card(
        list_title(alerts),
        [_paragraph(_run(f"{mark(line)} ", bold=True), _linked(line)) for line in lines],
        footer=" · ".join([*footer, f"({message_id})"]),
        actions=[],
    )


def _linked(line: IncidentLine) -> Element:
    said = line.summary if line.update is None else f"{line.summary} ({line.update})"
    address = web_address(line.incident)
    return _run(said) | ({} if address is None else {"selectAction": _opens(address)})


def _card(title: str, body: Sequence[Element], *, footer: str, actions: Sequence[Element]) -> bytes:
    head = _paragraph(_run(title, bold=True) | {"size": "Large"})
    foot = _paragraph(_run(footer, subtle=True) | {"size": "Small"})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [head, *body, foot],
        "actions": list(actions),
    }
    attached = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return msgspec.json.encode({"type": "message", "summary": title, "attachments": [attached]})


def _paragraph(*runs: Element) -> Element:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, *, bold: bool = False, subtle: bool = False) -> Element:
    """Write plain text; one space at its end stays, to stand between two runs."""
    shown = _cut(text) + (" " if text.endswith(" ") else "")
    weight = {"weight": "Bolder"} if bold else {}
    return {"type": "TextRun", "text": shown or "-", **weight} | (
        {"isSubtle": True} if subtle else {}
    )


def _cut(text: str, *, longest: int = LONGEST_TEXT) -> str:
    line = one_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _opens(address: str) -> Element:
    return {"type": "Action.OpenUrl", "url": address}
