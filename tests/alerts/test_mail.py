"""E-mail: how it reads, and what becomes of it at servers that refuse it or cannot be trusted."""

import re
import socket
import traceback
from collections.abc import Mapping
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.brief import brief
from alerts.channels import open_channel
from alerts.channels.mail import MailSettings, mail_body, mail_list
from alerts.delivery import Channel, DeliveryFailed
from alerts.formats import LARGEST_BODY
from alerts.mailing import LARGEST_SESSION, MailSecurity
from alerts.message import Alert, Links, Update
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.types import Reason, Status
from tests.alert_samples import FULL, UPDATED, a_change, an_alert
from tests.loopback import LOOPBACK, Behaviour, Receiver, for_ever
from tests.mail_server import LOGIN, MailReceiver, mail_client, mail_of

ANN, BOB = "ann@example.com", "bob@example.com"
OPTIONS: Mapping[str, object] = {
    "host": "127.0.0.1",
    "sender": "driftline@example.com",
    "to": [ANN],
}
SETTINGS = MailSettings(host="mail.example", sender="driftline@example.com", to=(ANN,))
HOSTILE = (
    "a\r\nBcc: eve@evil.example\r\n\r\n<b>owned</b>",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '"><a href="http://evil.example">click</a>',
    "=?utf-8?q?=0D=0ABcc=3A_eve?= \u202ereversed\x1b[2J\x00\u2028.",
    "--=_116b88f173007be5e05df2a87105f095--\r\n.\r\nQUIT\r\n",
)


def opened(receiver: MailReceiver | Receiver, **options: Any) -> Channel:
    login = {"username": LOGIN[0], "password": LOGIN[1]}
    own = {**OPTIONS, **login, "port": receiver.port, **options}
    return open_channel("email", own, client=mail_client())


def failure_of(channel: Channel) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        channel.deliver(FULL, "msg_1")
    return caught.value


def read(body: bytes) -> EmailMessage:
    return message_from_bytes(body, policy=default)


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


# --- how it reads -------------------------------------------------------------------------


def test_a_mail_says_what_people_need_first() -> None:
    message = read(mail_body(FULL, "msg_1", SETTINGS))
    said = part(message, "plain")
    assert message["subject"] == brief(FULL).title == said.splitlines()[0]
    for words in (
        "Impact: Answers since 11:10 UTC are",
        "You: 1) Check that v6",
        "Details: answers less certain",
    ):
        assert words in said
    assert "Incident: https://driftline.example/incidents/3" in said
    assert said.rstrip().endswith("driftline:support@v7:drift:3 (msg_1)")
    assert (message["from"], message["to"]) == ("Driftline <driftline@example.com>", ANN)
    assert message["auto-submitted"] == "auto-generated"  # no answering machine answers


@pytest.mark.parametrize("name", ["support", "support" + "x" * 60, "unterstützung", "サポート" * 4])
def test_a_subject_is_the_title_letter_by_letter(name: str) -> None:
    alert = an_alert(adapter=name, notification_reason=Reason.NOT_ACKNOWLEDGED)
    assert read(mail_body(alert, "m", SETTINGS))["subject"] == brief(alert).title


def test_a_link_leads_where_it_did() -> None:
    address = "https://driftline.example/incidents/3?a=1&copy=2"
    alert = an_alert(links=Links(incident=address))
    buttons = ("href", f"{address}#do-title")
    for body, others in (
        (mail_body(alert, "m", SETTINGS), {buttons}),
        (mail_list([alert, alert], "m", SETTINGS), set()),
    ):
        links = set(_Elements(part(read(body), "html")).attributes)
        assert links == {("href", address), *others}
        assert address in part(read(body), "plain")


def test_text_of_users_is_never_sent() -> None:
    assert FULL.examples[0].encode() not in mail_body(FULL, "m", SETTINGS)


def test_all_messages_of_an_incident_are_one_thread_and_each_has_its_own_id() -> None:
    ended = replace(FULL, status=Status.RECOVERED, recovered_at=FULL.at)
    other = an_alert(id="driftline:billing@v2:drift:1")
    sent = [(FULL, "m1"), (UPDATED, "m2"), (ended, "m3"), (other, "m4")]
    messages = [read(mail_body(alert, name, SETTINGS)) for alert, name in sent]
    messages.append(read(mail_list([FULL, other], "m5", SETTINGS)))
    ids = [message["message-id"] for message in messages]
    assert ids == [f"<m{number}@example.com>" for number in range(1, 6)]
    threads = [message["references"] for message in messages]
    assert len(set(threads[:3])) == 1
    assert threads[4] == threads[0] != threads[3]  # a list is in its most urgent incident's
    assert [message["in-reply-to"] for message in messages] == threads
    assert all(re.fullmatch(r"<[0-9a-f]{32}@example\.com>", thread) for thread in threads)


def test_ids_stay_whole_where_the_domain_is_long() -> None:
    domain = f"{'notifications.' * 12}example.com"
    message = mail_body(FULL, "m" * 36, replace(SETTINGS, sender=f"driftline@{domain}"))
    assert f"<{'m' * 36}@{domain}>".encode() in message
    assert read(message)["references"].endswith(f"@{domain}>")


class _Elements(HTMLParser):
    """Tags of a page, and what its links lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def everywhere(text: str) -> Alert:
    return replace(
        UPDATED,
        adapter=text,
        version=text,
        owner=text,
        tier=text,
        summary=text,
        reason=text,
        cause=text,
        id=f"driftline:{text}",
        labels={text: text},
        changes=(a_change(text),) * 3,
        update=Update(text=text),
        links=Links(incident=f"https://driftline.example/{text}", runbook=f"javascript:{text}"),
        examples=(text,),
    )


def assert_harmless(body: bytes) -> None:
    message = read(body)
    known = {"from", "to", "subject", "date", "message-id", "in-reply-to", "references"}
    known |= {"auto-submitted", "mime-version", "content-type"}
    assert sorted(name.lower() for name in message) == sorted(known)  # each of them once
    assert "eve" not in message["to"]
    assert len(message["subject"].splitlines()) == 1
    assert [one.get_content_type() for one in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert not any(one.defects for one in message.walk())
    assert not set(part(message, "plain")) & set("\r\x00\x1b\u2028\u202e")
    page = _Elements(part(message, "html"))
    assert page.tags <= {"html", "body", "h3", "p", "b", "small", "a"}
    for name, value in page.attributes:
        assert name == "href"
        assert str(value).startswith("https://driftline.example/")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_add_a_header_a_part_or_an_element(text: str) -> None:
    alert = everywhere(text)
    assert_harmless(mail_body(alert, "msg_1", SETTINGS))
    assert_harmless(mail_list([alert, alert], "msg_1", SETTINGS))
    with MailReceiver() as receiver:
        opened(receiver).deliver(alert, "msg_1")
    [seen] = receiver.seen  # one message, of one recipient, came out at the other end
    assert receiver.envelopes[0].rcpt_tos == [ANN]
    assert part(mail_of(seen), "plain") == part(read(mail_body(alert, "msg_1", SETTINGS)), "plain")


@given(st.text(max_size=200))
def test_any_text_gives_a_small_mail_of_the_same_parts(text: str) -> None:
    for body in (
        mail_body(everywhere(text), "m", SETTINGS),
        mail_list([everywhere(text)] * 60, "m", SETTINGS),
    ):
        assert len(body) < LARGEST_BODY
        assert_harmless(body)


# --- servers ------------------------------------------------------------------------------


def test_where_the_server_offers_no_tls_nothing_is_said_and_it_is_tried_again() -> None:
    with MailReceiver(security=MailSecurity.NONE) as receiver:  # or somebody between strips it
        channel = opened(receiver)
        failure = failure_of(channel)
        assert (receiver.logins, receiver.seen) == ([], [])
        receiver.security = MailSecurity.STARTTLS
        channel.deliver(FULL, "msg_1")
    assert (failure.permanent, "offers no STARTTLS" in failure.reason) == (False, True)
    assert [mail_of(seen)["message-id"] for seen in receiver.seen] == ["<msg_1@example.com>"]


@pytest.mark.parametrize("security", [MailSecurity.STARTTLS, MailSecurity.TLS])
@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_wrong_certificate_is_refused_before_the_login(
    security: MailSecurity, wrong: str
) -> None:
    certified = "other.example" if wrong == "name" else "127.0.0.1"
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK)) if wrong == "authority" else None
    with MailReceiver(security=security, certified=certified) as receiver:
        own = {**OPTIONS, "port": receiver.port, "security": security.value}
        failure = failure_of(open_channel("email", own, client=client or mail_client()))
    assert (failure.permanent, "certificate refused" in failure.reason) == (False, True)
    assert (receiver.logins, receiver.seen) == ([], [])


def test_a_wrong_password_is_tried_again_and_never_shown() -> None:
    with MailReceiver() as receiver:
        failure = failure_of(opened(receiver, password="wrong-never-to-be-seen"))  # noqa: S106 - planted
    assert not failure.permanent
    assert failure.reason == f"127.0.0.1:{receiver.port} refused the login: 535 5.7.8"
    assert receiver.logins  # it was tried, and the server's answer repeats it
    assert "never-to-be-seen" not in "".join(traceback.format_exception(failure))


@pytest.mark.parametrize("security", list(MailSecurity))
def test_without_a_login_none_is_made(security: MailSecurity) -> None:
    with MailReceiver(security=security, login=None) as receiver:
        own = {**OPTIONS, "port": receiver.port, "security": security.value}
        open_channel("email", own, client=mail_client()).deliver(FULL, "msg_1")
    assert (len(receiver.seen), receiver.logins) == (1, [])


@pytest.mark.parametrize(
    ("answers", "permanent", "said"),
    [
        pytest.param(
            {"refuses_sender": "550 5.7.1 no"}, True, "the sender: 550 5.7.1", id="sender"
        ),
        pytest.param({"refuses_sender": "451 later"}, False, "the sender: 451", id="sender, later"),
        pytest.param({"refuses_sender": "530 5.7.0 log in"}, False, "530 5.7.0", id="login wanted"),
        pytest.param(
            {"recipients": {ANN: "550 5.1.1 no"}}, True, "1 of 1: 550 5.1.1", id="mailbox"
        ),
        pytest.param(
            {"recipients": {ANN: "450 4.2.0 grey"}}, False, "1 of 1: 450", id="greylisted"
        ),
        pytest.param({"answers": ["554 5.6.0 spam"]}, True, "the message: 554", id="content"),
        pytest.param({"answers": ["452 4.3.1 full"]}, False, "the message: 452", id="full disk"),
        pytest.param({"answers": ["421 4.3.2 bye"]}, False, "the message: 421", id="shutting down"),
    ],
)
def test_the_answer_decides_whether_to_try_again(
    answers: dict[str, Any],
    permanent: bool,  # noqa: FBT001 - a table's column
    said: str,
) -> None:
    with MailReceiver(**answers) as receiver:
        failure = failure_of(opened(receiver))
    assert (failure.permanent, failure.status) == (permanent, None)
    assert said in failure.reason


def test_put_off_at_first_it_is_taken_at_the_next_attempt_under_the_same_id() -> None:
    with MailReceiver(answers=["451 4.3.0 busy", "250 OK"]) as receiver:
        channel = opened(receiver)
        assert not failure_of(channel).permanent
        channel.deliver(FULL, "msg_1")
    first, second = receiver.seen
    assert first.body == second.body
    assert mail_of(first)["message-id"] == "<msg_1@example.com>"


@pytest.mark.parametrize(("answer", "permanent"), [("550 5.1.1 gone", True), ("450 full", False)])
def test_a_refused_recipient_is_a_failure_though_the_others_have_the_mail(
    answer: str,
    permanent: bool,  # noqa: FBT001 - a table's column
) -> None:
    with MailReceiver(recipients={BOB: answer}) as receiver:
        failure = failure_of(opened(receiver, to=[ANN, BOB]))
    assert receiver.envelopes[0].rcpt_tos == [ANN]
    assert (failure.permanent, "recipient 2 of 2" in failure.reason) == (permanent, True)
    assert BOB not in failure.reason


def test_while_one_recipient_may_be_taken_later_it_is_tried_again() -> None:
    with MailReceiver(recipients={ANN: "550 5.1.1 gone", BOB: "450 4.2.2 full"}) as receiver:
        failure = failure_of(opened(receiver, to=[ANN, BOB]))
    said = "refused recipient 1 of 2: 550 5.1.1; recipient 2 of 2: 450 4.2.2"
    assert (failure.permanent, said in failure.reason) == (False, True)


def conversation(*answers: bytes) -> Behaviour:
    """Say the first by itself, and each of the others after a line of the client."""

    def behave(connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            for answer in answers:
                connection.sendall(answer)
                lines.readline()

    return behave


BARE = b"250 mail.example\r\n"
TLS_OFFERED = b"250-mail.example\r\n250 STARTTLS\r\n"


@pytest.mark.parametrize(
    ("server", "said"),
    [
        pytest.param(conversation(b"554 5.7.1 go away\r\n"), "answered 554 5.7.1", id="not you"),
        pytest.param(conversation(b"hello\r\n"), "other than SMTP", id="no mail server"),
        pytest.param(conversation(b"220 x\r\n", BARE), "offers no STARTTLS", id="offers nothing"),
        pytest.param(
            conversation(b"220 x\r\n", TLS_OFFERED, b"454 4.7.0 not now\r\n"),
            "answered 454 4.7.0",
            id="TLS not available",
        ),
        pytest.param(
            conversation(b"220 x\r\n", TLS_OFFERED, b"220 go\r\n250 OK\r\n250 OK\r\n"),
            "TLS with 127.0.0.1 failed",
            id="goes on in the clear",
        ),
        pytest.param(conversation(b"220 x\r\n"), "closed the connection", id="hangs up"),
        pytest.param(for_ever(b"220-", b"x", pause=0.02), "within 0.3 s", id="drips a line"),
        pytest.param(for_ever(b"", b"220-x\r\n", pause=0.02), "within 0.3 s", id="drips lines"),
        pytest.param(
            for_ever(b"", b"220-x\r\n" * 1_000, pause=0),
            f"exceed {LARGEST_SESSION} bytes",
            id="pours lines",
        ),
    ],
)
def test_a_server_that_does_not_do_its_part_is_tried_again(server: Behaviour, said: str) -> None:
    slow = {"timeout": 0.3} if "within" in said else {}
    with Receiver([server], speaks_first=True) as receiver:
        failure = failure_of(opened(receiver, **slow))
    assert (failure.permanent, failure.status) == (False, None)
    assert said in failure.reason


@pytest.mark.parametrize("offered", [b"250 AUTH GSSAPI\r\n", b"250 SIZE 1\r\n"])
def test_where_no_known_login_is_offered_none_is_tried(offered: bytes) -> None:
    server = conversation(b"220 x\r\n", b"250-mail.example\r\n" + offered, b"221 bye\r\n")
    with Receiver([server], speaks_first=True) as receiver:
        failure = failure_of(opened(receiver, security="none"))
    assert (failure.permanent, "offers no login" in failure.reason) == (False, True)


# --- settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"security": "none", "host": "mail.example"}, "localhost only"),
        ({"security": "none", "host": "10.0.0.25"}, "localhost only"),
        ({"security": "ssl"}, "security"),
        ({"host": "mail.example:587"}, "without a port"),
        ({"host": "smtp://mail.example"}, "without a port"),
        ({"port": 0}, "no valid port"),
        ({"sender": "Ann <ann@example.com>"}, "sender must be an address"),
        ({"sender": "ann@example.com\r\nBcc: eve@evil.example"}, "sender must be an address"),
        ({"to": []}, "to must list"),
        ({"to": [ANN, "bob"]}, "entry 2 of to"),
        ({"to": ANN}, "Expected `array`"),
        ({"username": "ann"}, "belong together"),
        ({"password": "x"}, "belong together"),
        ({"username": "ann", "password": ""}, "printable ASCII"),
        ({"username": "ann", "password": "pässword"}, "printable ASCII"),
        ({"timeout": 0}, "timeout must be positive"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_wrong(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        open_channel("email", {**OPTIONS, **wrong}, client=mail_client())
    assert "eve" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_on_this_machine_mail_may_go_in_the_clear(host: str) -> None:
    settings = replace(SETTINGS, host=host, security=MailSecurity.NONE)
    assert settings.server.port == 25


def test_the_usual_port_is_that_of_the_security() -> None:
    assert SETTINGS.server.port == 587
    assert replace(SETTINGS, security=MailSecurity.TLS).server.port == 465


def test_a_port_that_outgoing_requests_may_not_use_is_refused_on_opening() -> None:
    web_only = OutgoingClient(OutgoingPolicy(ports=frozenset({443})))
    with pytest.raises(ValueError, match=r"port 587 of 127\.0\.0\.1:587 is not permitted"):
        open_channel("email", OPTIONS, client=web_only)
