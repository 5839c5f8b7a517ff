"""Send e-mail by an SMTP server: one message for each alert, which mail programs thread.

A message is plain text with an HTML alternative. Every text in it stays on one line and is escaped
in HTML; addresses stand only in links with constant words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from html import escape
from ipaddress import ip_address
from typing import Final

from alerts.brief import brief
from alerts.delivery import Delivered
from alerts.formats import fitting
from alerts.grouped import IncidentLine, fitting_list, list_title, mark
from alerts.mailing import MailSecurity, MailServer, send_mail
from alerts.message import Alert
from alerts.outgoing import OutgoingClient
from alerts.paragraphs import links, one_line, paragraphs, web_address
from alerts.posting import check_timeout

PORTS: Mapping[MailSecurity, int] = {
    MailSecurity.STARTTLS: 587,
    MailSecurity.TLS: 465,
    MailSecurity.NONE: 25,
}
LONGEST_ADDRESS: Final = 254
POLICY: Final = SMTP.clone(max_line_length=96)
"""A subject of 80 characters stays on its line, where folding would begin it with a space."""
_ADDRESS: Final = re.compile(r"[\w!#$%&'*+/=^`{|}~.-]+@[A-Za-z0-9.-]+", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_LOGIN: Final = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Keys of a ``[[channels]]`` entry of kind ``email``.

    host, port
        The server that takes mail; without a port, the usual one of ``security``.
    security
        ``starttls``, ``tls``, or ``none`` for this machine only.
    sender, to
        Plain addresses, without names.
    username, password
        The login; without them there is none.
    timeout
        Total seconds for one attempt.
    """

    host: str
    sender: str
    to: tuple[str, ...]
    security: MailSecurity = MailSecurity.STARTTLS
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        if _HOST.fullmatch(self.host) is None:
            raise ValueError("host must be a name or an address, without a port")
        if self.security is MailSecurity.NONE and not _is_this_machine(self.host):
            raise ValueError('security = "none" is for localhost only')
        _check_address(self.sender, "sender")
        if not self.to:
            raise ValueError("to must list an address")
        for number, address in enumerate(self.to, start=1):
            _check_address(address, f"entry {number} of to")
        if (self.username is None) is not (self.password is None):
            raise ValueError("username and password belong together")
        if not all(
            _LOGIN.fullmatch(one) for one in (self.username, self.password) if one is not None
        ):
            raise ValueError("username and password must be printable ASCII, not empty")

    @property
    def url(self) -> str:
        """The server as an address."""
        return f"{'smtps' if self.security is MailSecurity.TLS else 'smtp'}://{self.server}"

    @property
    def server(self) -> MailServer:
        """The server with its port and login."""
        return MailServer(
            host=self.host,
            port=PORTS[self.security] if self.port is None else self.port,
            security=self.security,
            username=self.username,
            password=self.password,
        )


class Mail:
    """Sends one message for each alert or group, to all recipients at once."""

    def __init__(self, settings: MailSettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._client = client
        client.check_port(settings.server.host, settings.server.port)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        return self._send(mail_body(alert, message_id, self._settings))

    def deliver_together(self, alerts: Sequence[Alert], message_id: str) -> Delivered:
        return self._send(mail_list(alerts, message_id, self._settings))

    def _send(self, message: bytes) -> Delivered:
        return send_mail(
            self._client,
            self._settings.server,
            message,
            sender=self._settings.sender,
            to=self._settings.to,
            timeout=self._settings.timeout,
        )


def mail_body(alert: Alert, message_id: str, settings: MailSettings) -> bytes:
    """Render the message with its headers; under 20 kB, the same in every attempt."""
    return fitting(alert, partial(_one, settings=settings, message_id=message_id))


def mail_list(alerts: Sequence[Alert], message_id: str, settings: MailSettings) -> bytes:
    """Render a message that lists several incidents, the most urgent first; under 20 kB."""
    return fitting_list(alerts, partial(_list, alerts, settings, message_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paragraph:
    """A text under its name, and the page that it leads to."""

    name: str
    text: str
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A message as people read it, in texts of one line each."""

    title: str
    paragraphs: Sequence[_Paragraph]
    links: Sequence[tuple[str, str]] = ()
    footer: str


def _one(alert: Alert, *, truncated: bool, settings: MailSettings, message_id: str) -> bytes:
    said = brief(alert)
    parts = [*paragraphs(alert, said), *([("Details", said.details)] if said.details else [])]
    footer = f"{one_line(alert.id)} ({message_id})"
    letter = _Letter(
        title=one_line(said.title),
        paragraphs=[_Paragraph(name=name, text=one_line(text)) for name, text in parts],
        links=links(alert),
        footer=f"shortened · {footer}" if truncated else footer,
    )
    return _message(letter, alert, settings, message_id)


def _list(
    alerts: Sequence[Alert], settings: MailSettings, message_id: str, lines: Sequence[IncidentLine]
) -> bytes:
    lead, more = alerts[0], len(alerts) - len(lines)
    footer = [f"and {more} more"] if more else []
    footer += [f"Owner {one_line(lead.owner)}"] if lead.owner else []
    letter = _Letter(
        title=list_title(alerts),
        paragraphs=[
            _Paragraph(name=mark(line), text=_summary(line), address=web_address(line.incident))
            for line in lines
        ],
        footer=" · ".join([*footer, f"({message_id})"]),
    )
    return _message(letter, lead, settings, message_id)


def _summary(line: IncidentLine) -> str:
    return one_line(f"{line.summary} ({line.update})" if line.update else line.summary)


def _message(letter: _Letter, lead: Alert, settings: MailSettings, message_id: str) -> bytes:
    """Build the message.

    All messages of an incident refer to one that was never sent, and mail programs put them into
    one thread under it.
    """
    domain = settings.sender.rpartition("@")[2]
    thread = f"<{hashlib.sha256(lead.id.encode()).hexdigest()[:32]}@{domain}>"
    message = EmailMessage(policy=POLICY)
    message["From"] = f"Driftline <{settings.sender}>"
    message["To"] = ", ".join(settings.to)
    # the library decodes encoded words in what it is given, and a line break may be among them
    message["Subject"] = letter.title.replace("=?", "= ?")
    message["Date"] = lead.at
    message["Message-ID"] = f"<{message_id}@{domain}>"
    message["In-Reply-To"] = thread
    message["References"] = thread
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(letter))
    message.add_alternative(_html(letter), subtype="html")
    # no line of a text in quoted-printable or base64 can begin so
    message.set_boundary(f"=_{hashlib.sha256(message_id.encode()).hexdigest()[:32]}")
    return message.as_bytes()


def _text(letter: _Letter) -> str:
    parts = [
        f"{one.name}: {one.text}" + (f"\n{one.address}" if one.address else "")
        for one in letter.paragraphs
    ]
    shown = "\n".join(f"{name}: {address}" for name, address in letter.links)
    return "\n\n".join(part for part in (letter.title, *parts, shown, letter.footer) if part) + "\n"


def _html(letter: _Letter) -> str:
    parts = [
        f"<p><b>{escape(one.name)}</b> {_link(one.text, one.address)}</p>\n"
        for one in letter.paragraphs
    ]
    shown = " · ".join(_link(name, address) for name, address in letter.links)
    return (
        f"<html><body>\n<h3>{escape(letter.title)}</h3>\n{''.join(parts)}"
        f"<p>{shown}</p>\n<p><small>{escape(letter.footer)}</small></p>\n</body></html>\n"
    )


def _link(text: str, address: str | None) -> str:
    shown = escape(text)
    return shown if address is None else f'<a href="{escape(address)}">{shown}</a>'


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_address(address: str, what: str) -> None:
    if len(address) > LONGEST_ADDRESS or _ADDRESS.fullmatch(address) is None:
        raise ValueError(f"{what} must be an address such as ann@example.com")
