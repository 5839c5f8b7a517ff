"""Send one mail over SMTP for a channel, and read the answers as the outbox needs them.

The standard library's ``smtplib`` speaks over a guarded connection (:mod:`alerts.outgoing`): only
permitted addresses are dialled, and the whole session ends on time.
"""

from __future__ import annotations

import contextlib
import io
import re
import smtplib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import httpcore2

from alerts.delivery import Delivered, DeliveryFailed
from alerts.outgoing import Broken, OutgoingClient, OutgoingError

LARGEST_SESSION: Final = 64 * 1024
"""Bytes of a server's answers that are read in one session."""
READY: Final = 220
DONE: Final = 250
FOR_GOOD: Final = 500
"""Answers from here on are permanent (RFC 5321), but for those about the login."""
LOGIN_WANTED: Final = frozenset({530, 534, 535, 538})
"""Answers about the login (RFC 4954), which people can repair."""
_ENHANCED: Final = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?= |$)")


class MailSecurity(StrEnum):
    """How the connection to a mail server is encrypted."""

    STARTTLS = "starttls"
    """By the server's STARTTLS; if it offers none, nothing is sent."""
    TLS = "tls"
    """From the first byte."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """The server that takes mail, and the login there; without a user name there is none."""

    host: str
    port: int
    security: MailSecurity
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def send_mail(
    client: OutgoingClient,
    server: MailServer,
    message: bytes,
    *,
    sender: str,
    to: Sequence[str],
    timeout: float,
) -> Delivered:
    """Send a mail and wait until the server has taken it.

    Parameters
    ----------
    timeout
        Total seconds for the session.

    Raises
    ------
    DeliveryFailed
        The server did not take it for every recipient. Permanent if it answered 5xx to sender,
        recipients or content; a refused login can be repaired, and is tried again.
    """
    try:
        with _session(client, server, timeout=timeout) as session:
            refused = session.sendmail(sender, to, message)
            with contextlib.suppress(smtplib.SMTPException, OutgoingError):
                session.quit()
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)
    except OutgoingError as error:
        raise DeliveryFailed(f"{server}: {error}") from error
    except smtplib.SMTPException as error:
        raise _failure(error, server, to) from None  # it quotes answers, which may echo a secret
    return Delivered()


@contextlib.contextmanager
def _session(
    client: OutgoingClient, server: MailServer, *, timeout: float
) -> Iterator[smtplib.SMTP]:
    """Connect, encrypt and log in."""
    implicit = server.security is MailSecurity.TLS
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(
            client.connection(server.host, server.port, tls=implicit, timeout=timeout)
        )
        session = _Session(stream)
        session.expect(READY, session.getreply())
        if server.security is MailSecurity.STARTTLS:
            session.ask_for_tls()
            # a new session: nothing that was said in the clear is believed
            session = _Session(stack.enter_context(client.secured(stream, server.host)))
        if server.username is not None:
            session.login(server.username, server.password or "")
        yield session


class _Session(smtplib.SMTP):
    """A session over a connection that is open already."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        super().__init__(local_hostname=_own_name(stream))
        self.sock = _Wire(stream)  # type: ignore[assignment] # all of a socket that it uses

    def expect(self, code: int, answer: tuple[int, bytes]) -> None:
        if answer[0] != code:
            raise smtplib.SMTPResponseException(*answer)

    def ask_for_tls(self) -> None:
        self.expect(DONE, self.ehlo())
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("STARTTLS")
        self.expect(READY, self.docmd("STARTTLS"))


class _Wire(io.RawIOBase):
    """A guarded stream, as the socket and the file that ``smtplib`` uses."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream
        self._left = LARGEST_SESSION

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def sendall(self, data: bytes) -> None:
        self._stream.write(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(len(buffer))
        self._left -= len(piece)
        if self._left < 0:
            raise Broken(f"the mail server's answers exceed {LARGEST_SESSION} bytes")
        buffer[: len(piece)] = piece
        return len(piece)


def _own_name(stream: httpcore2.NetworkStream) -> str:
    """Name this host by its address, as RFC 5321 permits; a look-up of its name may hang."""
    address = str(stream.get_extra_info("socket").getsockname()[0])
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _failure(error: smtplib.SMTPException, server: MailServer, to: Sequence[str]) -> DeliveryFailed:
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            return _refused(refused, server, to)
        case smtplib.SMTPSenderRefused(smtp_code=code, smtp_error=text):
            said, final = f"refused the sender: {_answer(code, text)}", _for_good(code)
        case smtplib.SMTPDataError(smtp_code=code, smtp_error=text):
            said, final = f"refused the message: {_answer(code, text)}", _for_good(code)
        case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=text):
            said, final = f"refused the login: {_answer(code, text)}", False
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=text):
            said, final = f"answered {_answer(code, text)}", False
        case smtplib.SMTPNotSupportedError(args=("STARTTLS",)):
            said, final = "offers no STARTTLS, and nothing is sent in the clear", False
        case smtplib.SMTPServerDisconnected():
            said, final = "closed the connection", False
        case _:
            said, final = "offers no login that is known here", False
    return DeliveryFailed(f"{server} {said}", permanent=final)


def _refused(
    answers: dict[str, tuple[int, bytes]], server: MailServer, to: Sequence[str]
) -> DeliveryFailed:
    """Name recipients by their place in ``to``; the others have the message already."""
    said = [
        f"recipient {to.index(one) + 1} of {len(to)}: {_answer(*answer)}"
        for one, answer in answers.items()
    ]
    return DeliveryFailed(
        f"{server} refused {'; '.join(said)}",
        permanent=all(_for_good(code) for code, _ in answers.values()),
    )


def _for_good(code: int) -> bool:
    return code >= FOR_GOOD and code not in LOGIN_WANTED


def _answer(code: int, text: bytes | str) -> str:
    """Write an answer without its text, which the server chose.

    >>> _answer(550, b"5.1.1 no such user here")
    '550 5.1.1'
    """
    if code < 0:
        return "something other than SMTP"
    found = _ENHANCED.match(text if isinstance(text, bytes) else text.encode())
    return f"{code} {found[0].decode()}" if found else str(code)
