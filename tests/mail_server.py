"""A real mail server on the loopback interface, which answers as told."""

import asyncio
import atexit
import contextlib
import itertools
import logging
import shutil
import socket
import ssl
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, Self, TypeVar

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from alerts.mailing import MailSecurity
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from tests.loopback import LOOPBACK, Seen

T = TypeVar("T")

TAKEN: Final = "250 2.0.0 OK"
LOGIN: Final = ("ann", "password-never-to-be-seen")

# it would write down what the client said, and no test may find a secret in its own log
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def authority_file() -> str:
    folder = Path(mkdtemp(prefix="authority-"))
    atexit.register(shutil.rmtree, folder)
    authority().cert_pem.write_to_path(str(folder / "ca.pem"))
    return str(folder / "ca.pem")


def mail_client() -> OutgoingClient:
    """A client that may reach this machine, trusts the authority, and would wait an hour."""
    policy = OutgoingPolicy(allow=LOOPBACK, timeout=3600.0, ca_file=authority_file())
    return OutgoingClient(policy)


def mail_of(seen: Seen) -> EmailMessage:
    """Read a message as a mail program does; it has no defect."""
    message = message_from_bytes(seen.body, policy=default)
    for part in message.walk():
        assert not part.defects
    return message


def text_of(seen: Seen, kind: str = "plain") -> str:
    part = mail_of(seen).get_body((kind,))
    assert part is not None
    return str(part.get_content())


@dataclass
class MailReceiver:
    """Takes each mail with the next answer, the last one for ever.

    With ``login`` it takes mail only from who logs in so, by one of ``mechanisms``.
    ``recipients`` are the answers to some of them; ``certified`` is the name that its certificate
    is for.
    """

    answers: Iterable[str] = (TAKEN,)
    security: MailSecurity = MailSecurity.STARTTLS
    login: tuple[str, str] | None = LOGIN
    recipients: Mapping[str, str] = field(default_factory=dict)
    refuses_sender: str | None = None
    certified: str = "127.0.0.1"
    seen: list[Seen] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Self:
        script = list(self.answers)
        self._script: Iterator[str] = itertools.chain(script, itertools.repeat(script[-1]))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._server = self._run(self._listen(listener))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        tls = self._certificate() if self.security is MailSecurity.TLS else None
        return await self._loop.create_server(self._session, sock=listener, ssl=tls)

    async def _end(self) -> None:
        self._server.close()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waiting, return_exceptions=True)

    def _certificate(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(self.certified).configure_cert(context)
        return context

    def _session(self) -> SMTP:
        self.connections += 1
        in_session = self.security is MailSecurity.STARTTLS
        return SMTP(
            self,
            hostname="mail.example",
            tls_context=self._certificate() if in_session else None,
            require_starttls=in_session,
            auth_required=self.login is not None and in_session,
            auth_require_tls=in_session,
            authenticator=self._authenticate,
            loop=self._loop,
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _way: str, given: LoginPassword
    ) -> AuthResult:
        self.logins.append(given.password)
        wanted = None if self.login is None else tuple(one.encode() for one in self.login)
        # a server may say what it was told: nothing of that may be passed on
        echo = f"535 5.7.8 {given.password.decode()}"
        known = (given.login, given.password) == wanted
        return AuthResult(success=known, handled=False, message=None if known else echo)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd calls it by this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _more: object
    ) -> str:
        if self.refuses_sender is not None:
            return self.refuses_sender
        envelope.mail_from = address
        return TAKEN

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it by this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _more: object
    ) -> str:
        answer = self.recipients.get(address, TAKEN)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it by this name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        answer = next(self._script)
        content = envelope.original_content
        assert content is not None
        headers = {name.lower(): str(value) for name, value in message_from_bytes(content).items()}
        self.seen.append(Seen(method="MAIL", path="", headers=headers, body=content))
        self.envelopes.append(envelope)
        return answer
