"""Post to a Slack channel by an incoming webhook: one message of blocks for each alert.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

Slack reads ``<…>`` as links and mentions, so every text is escaped and kept on one line; a link
consists of a constant text and an address without control characters.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Final

import msgspec

from alerts.brief import Brief, brief
from alerts.delivery import Delivered
from alerts.formats import fitting
from alerts.grouped import IncidentLine, fitting_list, list_title, mark
from alerts.message import Alert
from alerts.outgoing import OutgoingClient
from alerts.pacing import MessageRate
from alerts.paragraphs import links, one_line, paragraphs, web_address
from alerts.posting import check_timeout, post_body

PACE: Final = MessageRate(per_second=1.0, burst=5)
"""Slack accepts about one message a second per webhook, and short bursts."""
LONGEST_NAME: Final = 90
"""Fits, with the words before it, into the 150 characters of a header."""
LONGEST_TEXT: Final = 800
LONGEST_FIELD: Final = 200
LONGEST_TITLE: Final = 150
MOST_SECTIONS: Final = 45
"""Slack accepts 50 blocks in a message."""
ESCAPES: Mapping[str, str] = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

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

    def __init__(self, settings: SlackSettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._client = client
        client.check(settings.url)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return self._post(slack_body(alert, message_id))

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        return self._post(slack_list(alerts, message_id))

    def _post(self, body: bytes) -> Delivered:
        return post_body(self._client, self._settings.url, body, timeout=self._settings.timeout)


def slack_body(alert: Alert, message_id: str) -> bytes:
    """Render the message; under 20 kB, within Slack's limits for blocks."""
    return fitting(alert, partial(_body, message_id=message_id))


def slack_list(alerts: Sequence[Alert], message_id: str) -> bytes:
    """Render a message that lists several incidents, the most urgent first; under 20 kB."""
    return fitting_list(alerts, partial(_list, alerts, message_id))


def _list(alerts: Sequence[Alert], message_id: str, found: Sequence[IncidentLine]) -> bytes:
    lines = found[:MOST_SECTIONS]
    lead, more = alerts[0], len(alerts) - len(lines)
    title = list_title(alerts)
    footer = [f"and {more} more"] if more else []
    footer += [f"Owner {escaped(lead.owner, longest=LONGEST_NAME)}"] if lead.owner else []
    return msgspec.json.encode(
        {
            "text": title,
            "blocks": [
                {"type": "header", "text": _plain(title)},
                *(_section(f"*{mark(line)}* {_linked(line)}") for line in lines),
                {"type": "context", "elements": [_text(" · ".join([*footer, f"({message_id})"]))]},
            ],
            "unfurl_links": False,
            "unfurl_media": False,
        }
    )


def _linked(line: IncidentLine) -> str:
    said = escaped(line.summary, longest=LONGEST_TEXT)
    if line.update is not None:
        said += f" ({escaped(line.update, longest=LONGEST_FIELD)})"
    address = web_address(line.incident)
    return said if address is None else f"{said} {_link('Incident', address)}"


def escaped(text: str, *, longest: int) -> str:
    r"""Escape untrusted text so that Slack shows it on one line without links or mentions.

    ``longest`` holds for the result, in UTF-16 units.

    >>> escaped("<!channel> a\n& b", longest=100)
    '&lt;!channel&gt; a &amp; b'
    """
    letters = [ESCAPES.get(one, one) for one in one_line(text)]
    ends = list(accumulate((len(one.encode("utf-16-le")) // 2 for one in letters), initial=0))
    if ends[-1] <= longest:
        return "".join(letters)
    return "".join(letters[: bisect_right(ends, longest - 1) - 1]) + "…"


def _body(alert: Alert, *, truncated: bool, message_id: str) -> bytes:
    said = brief(alert)
    title = escaped(said.title, longest=LONGEST_TITLE)
    blocks = [
        {"type": "header", "text": _plain(title)},
        *(_section(f"*{name}* {_text_of(text)}") for name, text in paragraphs(alert, said)),
        *_details(said),
        {"type": "context", "elements": [_text(_footer(alert, message_id, truncated=truncated))]},
    ]
    return msgspec.json.encode(
        {"text": title, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
    )


def _text_of(text: str) -> str:
    return escaped(text, longest=LONGEST_TEXT)


def _details(said: Brief) -> list[Block]:
    if not said.details:
        return []
    return [{"type": "context", "elements": [_text(f"Details: {_text_of(said.details)}")]}]


def _footer(alert: Alert, message_id: str, *, truncated: bool) -> str:
    parts = [_link(text, address) for text, address in links(alert)]
    parts.append(f"{escaped(alert.id, longest=LONGEST_TEXT)} ({message_id})")
    return " · ".join([*parts, "shortened"] if truncated else parts)


def _link(text: str, address: str) -> str:
    """Write a link with a constant text."""
    return f"<{address.replace('&', '&amp;')}|{text}>"


def _section(text: str) -> Block:
    return {"type": "section", "text": _text(text or "-")}


def _text(text: str) -> Block:
    # verbatim: stops Slack from turning words into links or mentions
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}
