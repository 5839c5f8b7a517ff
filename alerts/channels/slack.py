"""Post to a Slack channel by an incoming webhook: one message of blocks for each alert.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

Slack reads ``<…>`` as links and mentions, so every text is escaped and kept on one line; a link
consists of a constant text and an address without control characters.
"""

from __future__ import annotations

import time
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import msgspec

from alerts.brief import Brief, brief, numbered
from alerts.delivery import Delivered
from alerts.formats import LARGEST_BODY, fitting
from alerts.grouped import IncidentLine, counted, listed
from alerts.message import Alert, Unseen
from alerts.outgoing import OutgoingClient
from alerts.pacing import MessageRate
from alerts.posting import check_timeout, post_json
from alerts.types import Reason, Status
from alerts.words import uncompared_words

PACE: Final = MessageRate(per_second=1.0, burst=5)
"""Slack accepts about one message a second per webhook, and short bursts."""
LONGEST_NAME: Final = 90
"""Fits, with the words before it, into the 150 characters of a header."""
LONGEST_TEXT: Final = 800
LONGEST_FIELD: Final = 200
LONGEST_TITLE: Final = 150
LONGEST_LINK: Final = 1_000
SHOWN_CHANGES: Final = 5
MOST_SECTIONS: Final = 45
"""Slack accepts 50 blocks in a message."""
SAFE_IN_LINK: Final = ":/?#[]@!$&'()*+,;=%-._~"

UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that move, hide or break adjacent text."""
ESCAPES: Mapping[str, str] = MappingProxyType({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

Block = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """Keys of a ``[[channels]]`` entry of kind ``slack``.

    url
        The incoming webhook's address; a secret, because it alone permits posting.
    timeout
        Total seconds for one attempt.
    """

    url: str = field(repr=False)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        check_timeout(self.timeout)


class Slack:
    """Posts one message for each alert, and never edits it or replies to it."""

    def __init__(
        self,
        settings: SlackSettings,
        client: OutgoingClient,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        client.check(settings.url)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return post_json(
            self._client,
            self._settings.url,
            slack_body(alert, message_id),
            timeout=self._settings.timeout,
            now=self._clock(),
        )

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        return post_json(
            self._client,
            self._settings.url,
            slack_list(alerts, message_id),
            timeout=self._settings.timeout,
            now=self._clock(),
        )


def slack_body(alert: Alert, message_id: str) -> bytes:
    """Render the message; under 20 kB, within Slack's limits for blocks."""
    return fitting(alert, partial(_body, message_id=message_id))


def slack_list(alerts: Sequence[Alert], message_id: str) -> bytes:
    """Render a message that lists several incidents, the most urgent first; under 20 kB."""
    lines = listed(alerts).lines[:MOST_SECTIONS]
    for count in range(len(lines), 0, -1):
        body = _list(alerts, lines[:count], message_id)
        if len(body) < LARGEST_BODY:
            return body
    raise ValueError(f"the name alone of alert {alerts[0].id[:40]!r} is too large")


def _list(alerts: Sequence[Alert], lines: Sequence[IncidentLine], message_id: str) -> bytes:
    lead, more = alerts[0], len(alerts) - len(lines)
    word = "Still open" if lead.notification_reason is Reason.REPEAT else "Incidents"
    title = f"{word}: {counted(alerts)}"
    footer = [f"and {more} more"] if more else []
    footer += [f"Owner {escaped(lead.owner, longest=LONGEST_NAME)}"] if lead.owner else []
    return msgspec.json.encode(
        {
            "text": title,
            "blocks": [
                {"type": "header", "text": _plain(title)},
                *(_section(f"{_mark(line)} {_linked(line)}") for line in lines),
                {
                    "type": "context",
                    "elements": [_text(" · ".join([*footer, f"({message_id})"]))],
                },
            ],
            "unfurl_links": False,
            "unfurl_media": False,
        }
    )


def _mark(line: IncidentLine) -> str:
    if not line.firing:
        return "*Recovered*"
    goes_on = ", updated" if line.status is Status.UPDATED else ""
    return f"*{line.severity.value.capitalize()}{goes_on}*"


def _linked(line: IncidentLine) -> str:
    said = escaped(line.summary, longest=LONGEST_TEXT)
    if line.update is not None:
        said += f" ({escaped(line.update, longest=LONGEST_FIELD)})"
    link = _link("Incident", line.incident)
    return said if link is None else f"{said} {link}"


def escaped(text: str, *, longest: int) -> str:
    r"""Escape untrusted text so that Slack shows it on one line without links or mentions.

    ``longest`` holds for the result, in UTF-16 units.

    >>> escaped("<!channel> a\n& b", longest=100)
    '&lt;!channel&gt; a &amp; b'
    """
    shown = "".join(" " if unicodedata.category(one) in UNSEEN else one for one in text)
    letters = [ESCAPES.get(one, one) for one in " ".join(shown.split())]
    ends = list(accumulate((len(one.encode("utf-16-le")) // 2 for one in letters), initial=0))
    if ends[-1] <= longest:
        return "".join(letters)
    return "".join(letters[: bisect_right(ends, longest - 1) - 1]) + "…"


def _body(alert: Alert, *, truncated: bool, message_id: str) -> bytes:
    said = brief(alert)
    title = escaped(said.title, longest=LONGEST_TITLE)
    blocks = [
        {"type": "header", "text": _plain(title)},
        *(_section(one) for one in _paragraphs(alert, said)),
        *_details(said),
        {"type": "context", "elements": [_text(_footer(alert, message_id, truncated=truncated))]},
    ]
    return msgspec.json.encode(
        {
            "text": title,
            "blocks": blocks,
            "unfurl_links": False,
            "unfurl_media": False,
        }
    )


def _paragraphs(alert: Alert, said: Brief) -> list[str]:
    """List the change since the last message, then the non-empty parts."""
    update = f"*Update* {_text_of(alert.update.text)}" if alert.update else ""
    late = "*Late* It was over before this could be delivered." if alert.late else ""
    parts = (
        ("Impact", said.impact),
        ("Likely cause", said.cause),
        ("Driftline", said.done),
        ("You", numbered(said.steps)),
    )
    named = [f"*{name}* {_text_of(text)}" for name, text in parts if text]
    examples = [f"*By detector* {_text_of(one)}" for one in _uncompared(alert.unseen)]
    return [part for part in (update, *named, *examples, late) if part]


def _text_of(text: str) -> str:
    return escaped(text, longest=LONGEST_TEXT)


def _uncompared(unseen: Unseen | None) -> list[str]:
    return [uncompared_words(one) for one in unseen.detectors[:SHOWN_CHANGES]] if unseen else []


def _details(said: Brief) -> list[Block]:
    if not said.details:
        return []
    return [{"type": "context", "elements": [_text(f"Details: {_text_of(said.details)}")]}]


def _footer(alert: Alert, message_id: str, *, truncated: bool) -> str:
    links = (
        ("Incident", alert.links.incident),
        ("Chart", alert.links.chart),
        ("Runbook", alert.links.runbook),
        ("About the detector", alert.links.detector_runbook),
        ("Dashboard", alert.links.dashboard),
    )
    parts = [link for text, address in links if (link := _link(text, address))]
    parts.append(f"{escaped(alert.id, longest=LONGEST_TEXT)} ({message_id})")
    return " · ".join([*parts, "shortened"] if truncated else parts)


def _link(text: str, address: str | None) -> str | None:
    """Write a link with a constant text; None if the address is not a web address."""
    if address is None or not address.startswith(("https://", "http://")):
        return None
    clean = quote(address, safe=SAFE_IN_LINK)
    return f"<{clean.replace('&', '&amp;')}|{text}>" if len(clean) <= LONGEST_LINK else None


def _section(text: str) -> Block:
    return {"type": "section", "text": _text(text or "-")}


def _text(text: str) -> Block:
    # verbatim: stops Slack from turning words into links or mentions
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}
