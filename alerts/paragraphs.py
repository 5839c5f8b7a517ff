"""Lay a message out for people's chats: paragraphs with a name, and links."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from alerts.brief import Brief, numbered
from alerts.message import Alert, Unseen
from alerts.words import uncompared_words

SHOWN_CHANGES: Final = 5
LONGEST_LINK: Final = 1_000
SAFE_IN_LINK: Final = ":/?#[]@!$&'()*+,;=%-._~"
UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that move, hide or break adjacent text."""


def one_line(text: str) -> str:
    r"""Put untrusted text on one line, without characters that are not seen.

    >>> one_line("a\n\u202eb")
    'a b'
    """
    shown = "".join(" " if unicodedata.category(one) in UNSEEN else one for one in text)
    return " ".join(shown.split())


def paragraphs(alert: Alert, said: Brief) -> Sequence[tuple[str, str]]:
    """List the change since the last message, then the non-empty parts, each with its name."""
    late = "It was over before this could be delivered." if alert.late else ""
    parts = (
        ("Update", alert.update.text if alert.update else ""),
        ("Impact", said.impact),
        ("Likely cause", said.cause),
        ("Driftline", said.done),
        ("You", numbered(said.steps)),
        *(("By detector", one) for one in _uncompared(alert.unseen)),
        ("Late", late),
    )
    return [(name, text) for name, text in parts if text]


def links(alert: Alert) -> Sequence[tuple[str, str]]:
    """List the message's links: constant texts, and web addresses that break nothing."""
    buttons = f"{alert.links.incident}#do-title" if alert.links.incident else None
    given = (
        ("Incident", alert.links.incident),
        ("Acknowledge" if alert.firing else "False alarm?", buttons),
        ("Chart", alert.links.chart),
        ("Runbook", alert.links.runbook),
        ("About the detector", alert.links.detector_runbook),
        ("Dashboard", alert.links.dashboard),
    )
    return [(text, clean) for text, address in given if (clean := web_address(address))]


def web_address(address: str | None) -> str | None:
    """Return an address as it may stand in a link; None if it is no web address, or too long."""
    if address is None or not address.startswith(("https://", "http://")):
        return None
    clean = quote(address, safe=SAFE_IN_LINK)
    return clean if len(clean) <= LONGEST_LINK else None


def _uncompared(unseen: Unseen | None) -> Sequence[str]:
    return [uncompared_words(one) for one in unseen.detectors[:SHOWN_CHANGES]] if unseen else []
