"""The laws of every channel. A new entry of the table joins by its rig and nothing else."""

import base64
import gzip
import io
import json
import logging
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from alerts.brief import brief
from alerts.channels import CHANNELS, Groups, open_channel, parse_settings, reach_receiver
from alerts.delivery import Channel, DeliveryFailed, GroupedChannel
from alerts.formats import LARGEST_BODY
from alerts.mailing import MailSecurity
from alerts.outgoing import ConnectFailed, OutgoingClient, OutgoingPolicy
from tests.alert_samples import BLIND, CAUSE, FULL, UNSEEN, UPDATED, a_change, an_alert
from tests.loopback import (
    Behaviour,
    Receiver,
    Seen,
    answer,
    drip_body,
    drip_head,
    raw,
    reset,
    unused_port,
)
from tests.mail_server import LOGIN, TAKEN, MailReceiver, mail_client, mail_of, text_of
from tests.service import until

SECRET = "whsec_" + base64.b64encode(b"never to be seen anywhere").decode()
ROUTING_KEY = "NeverToBeSeen0123456789abcdefghij"[:32]
TOKEN = "bearer-never-to-be-seen"  # noqa: S105 - planted, to be looked for
PATH_SECRET = "T0-B1-never-to-be-seen"  # noqa: S105 - planted, to be looked for
PATIENT, SOON = 30.0, 0.3
"""Seconds that a channel waits where the receiver answers, however late, and where it does not."""
BOMB = 64 * 1024 * 1024
"""Zeroes that a receiver packs into 64 kB; unpacked or kept they would show."""
# The client would wait an hour: what ends sooner is ended by the channel's own timeout.
CLIENT = mail_client()


class Over(Enum):
    """How a channel's messages travel."""

    HTTP = "http"
    SMTP = "smtp"
    NOTHING = "nothing"


def json_of(seen: Seen) -> str:
    assert isinstance(json.loads(seen.body), dict | list)
    return seen.body.decode()


@dataclass(frozen=True, kw_only=True)
class Rig:
    """How a kind of channel is set up against a receiver on the loopback interface.

    ``says`` gives what a message says, once it is sure that it is well-formed.
    """

    options: Callable[[str], Mapping[str, object]]
    message_id: Callable[[Seen], str] = lambda seen: seen.headers["webhook-id"]
    says: Callable[[Seen], str] = json_of
    over: Over = Over.HTTP
    security: MailSecurity = MailSecurity.STARTTLS
    secrets: tuple[str, ...] = ()

    @property
    def http(self) -> bool:
        return self.over is Over.HTTP

    def receiver(self, *, busy: bool = False) -> Receiver | MailReceiver:
        """Take messages; a ``busy`` one takes the first and no more for now."""
        if self.over is Over.SMTP:
            answers = (TAKEN, "451 4.3.0 busy") if busy else (TAKEN,)
            return MailReceiver(answers=answers, security=self.security)
        return Receiver([answer(202), answer(503)] if busy else [answer(202)])

    def broken(self, behaviour: Behaviour) -> Receiver:
        return Receiver([behaviour], speaks_first=self.over is Over.SMTP)


def webhook(url: str, *, body: str) -> Mapping[str, object]:
    return {
        "url": f"{url}/{PATH_SECRET}?k={PATH_SECRET}",
        "secret": SECRET,
        "body": body,
        "timeout": PATIENT,
    }


def pagerduty(url: str) -> Mapping[str, object]:
    return {"url": f"{url}/{PATH_SECRET}", "routing_key": ROUTING_KEY, "timeout": PATIENT}


def pagerduty_id(seen: Seen) -> str:
    return str(json.loads(seen.body)["payload"]["custom_details"]["message_id"])


def opsgenie(url: str) -> Mapping[str, object]:
    return {"url": f"{url}/{PATH_SECRET}", "key": TOKEN, "timeout": PATIENT}


def opsgenie_id(seen: Seen) -> str:
    return str(json.loads(seen.body)["details"]["message_id"])


def slack(url: str) -> Mapping[str, object]:
    return {"url": f"{url}/{PATH_SECRET}", "timeout": PATIENT}


def slack_id(seen: Seen) -> str:
    footer = str(json.loads(seen.body)["blocks"][-1]["elements"][0]["text"])
    return footer.rpartition("(")[2].removesuffix(")")


def teams_id(seen: Seen) -> str:
    card = json.loads(seen.body)["attachments"][0]["content"]
    footer = str(card["body"][-1]["inlines"][0]["text"])
    return footer.rpartition("(")[2].removesuffix(")")


def alertmanager(url: str) -> Mapping[str, object]:
    return {"url": f"{url}/{PATH_SECRET}", "token": TOKEN, "timeout": PATIENT}


def alertmanager_id(seen: Seen) -> str:
    return str(json.loads(seen.body)[0]["annotations"]["message_id"])


TEMPLATE = """{{ {
    "id": id, "adapter": adapter, "version": version, "severity": severity, "status": status,
    "summary": summary, "brief": brief, "update": update, "unseen": unseen, "group": group,
    "message_id": message_id,
} | tojson }}"""


def custom(url: str) -> Mapping[str, object]:
    return {
        "url": f"{url}/{PATH_SECRET}",
        "template": TEMPLATE,
        "authorization": f"Bearer {TOKEN}",
        "timeout": PATIENT,
    }


def custom_says(seen: Seen) -> str:
    return json.dumps(json.loads(json_of(seen)), ensure_ascii=False, separators=(",", ":"))


def email(url: str, *, security: MailSecurity) -> Mapping[str, object]:
    return {
        "host": "127.0.0.1",
        "port": urlsplit(url).port,
        "security": security.value,
        "sender": "driftline@example.com",
        "to": ["ann@example.com"],
        "username": LOGIN[0],
        "password": LOGIN[1],
        "timeout": PATIENT,
    }


def email_id(seen: Seen) -> str:
    return str(mail_of(seen)["message-id"]).removeprefix("<").partition("@")[0]


HIDDEN = (SECRET, SECRET.removeprefix("whsec_"), PATH_SECRET)
RIGS = {
    ("webhook", "driftline"): Rig(options=partial(webhook, body="driftline"), secrets=HIDDEN),
    ("webhook", "alertmanager"): Rig(options=partial(webhook, body="alertmanager"), secrets=HIDDEN),
    ("pagerduty", ""): Rig(
        options=pagerduty, message_id=pagerduty_id, secrets=(ROUTING_KEY, PATH_SECRET)
    ),
    ("opsgenie", ""): Rig(options=opsgenie, message_id=opsgenie_id, secrets=(TOKEN, PATH_SECRET)),
    ("slack", ""): Rig(options=slack, message_id=slack_id, secrets=(PATH_SECRET,)),
    ("teams", ""): Rig(options=slack, message_id=teams_id, secrets=(PATH_SECRET,)),
    ("alertmanager", ""): Rig(
        options=alertmanager, message_id=alertmanager_id, secrets=(TOKEN, PATH_SECRET)
    ),
    ("custom", ""): Rig(
        options=custom,
        message_id=lambda seen: seen.headers["idempotency-key"],
        says=custom_says,
        secrets=(TOKEN, PATH_SECRET),
    ),
    **{
        ("email", security.value): Rig(
            options=partial(email, security=security),
            message_id=email_id,
            says=text_of,
            over=Over.SMTP,
            security=security,
            secrets=(LOGIN[1],),
        )
        for security in MailSecurity
    },
    ("log", ""): Rig(options=lambda _: {"stream": "stderr"}, over=Over.NOTHING),
}
EVERY = pytest.mark.parametrize(("kind", "rig"), [(key[0], rig) for key, rig in RIGS.items()])
OVER_HTTP = pytest.mark.parametrize(
    ("kind", "rig"), [(key[0], rig) for key, rig in RIGS.items() if rig.http]
)
OVER_A_NETWORK = pytest.mark.parametrize(
    ("kind", "rig"),
    [(key[0], rig) for key, rig in RIGS.items() if rig.over is not Over.NOTHING],
)


def open_rig(kind: str, rig: Rig, url: str = "http://127.0.0.1:9/hook", **options: Any) -> Channel:
    return open_channel(kind, {**rig.options(url), **options}, client=CLIENT)


def failure_of(channel: Channel) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        channel.deliver(FULL, "msg_1")
    return caught.value


Written = Callable[[], list[str]]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """Lines that came out on standard error since the last call."""

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return lines


def test_every_channel_has_a_rig() -> None:
    assert {kind for kind, _ in RIGS} == set(CHANNELS)


@EVERY
def test_a_message_that_is_taken_gives_a_receipt(kind: str, rig: Rig, written: Written) -> None:
    with rig.receiver() as receiver:
        receipt = open_rig(kind, rig, receiver.url).deliver(FULL, "msg_1")
    assert receipt.status == (202 if rig.http else None)
    assert len(receiver.seen) + len(written()) == 1


@EVERY
def test_the_incident_the_adapter_and_the_message_are_named(
    kind: str, rig: Rig, written: Written
) -> None:
    with rig.receiver() as receiver:
        open_rig(kind, rig, receiver.url).deliver(FULL, "msg_1")
    sent = "".join(f"{seen.headers} {rig.says(seen)}" for seen in receiver.seen)
    sent += "".join(written())
    for word in ("support", "v7", "page", FULL.summary[:20], FULL.id, "msg_1"):
        assert word in sent


@EVERY
def test_an_update_names_the_same_incident_and_says_what_was_told_and_what_is_known_now(
    kind: str, rig: Rig, written: Written
) -> None:
    with rig.receiver() as receiver:
        channel = open_rig(kind, rig, receiver.url)
        channel.deliver(FULL, "msg_1")
        channel.deliver(UPDATED, "msg_2")
    first, second, *_notes = [rig.says(seen) for seen in receiver.seen] or written()
    assert FULL.id in first
    assert FULL.id in second
    assert UPDATED.summary[:60] in second or brief(UPDATED).title[:40] in second
    assert UPDATED.update is not None
    assert UPDATED.update.text in second
    assert UPDATED.update.text not in first


@EVERY
def test_an_update_among_others_is_marked_and_says_the_same(kind: str, rig: Rig) -> None:
    other = an_alert(id="driftline:billing@v2:drift:1", adapter="billing")
    with rig.receiver() as receiver:
        channel = open_rig(kind, rig, receiver.url)
        if not isinstance(channel, GroupedChannel):
            return
        channel.deliver_together([other, UPDATED], "msg_1")
    [said] = map(rig.says, receiver.seen)
    assert "likely cause was: adapter, now: input" in said
    assert "updated" in said


@EVERY
def test_a_version_that_is_not_compared_is_told_with_its_cause_and_what_mends_it(
    kind: str, rig: Rig, written: Written
) -> None:
    with rig.receiver() as receiver:
        open_rig(kind, rig, receiver.url).deliver(BLIND, "msg_1")
    sent = "".join([*map(rig.says, receiver.seen), *written()])
    for words in ("support@v7: not fully monitored", UNSEEN.mend, CAUSE):
        assert words in sent
    assert "certainty of answers" in sent
    assert "token entropy" in sent
    assert '"compared":8' in sent or "8 of the newest 100 requests" in sent


@EVERY
def test_its_cause_is_cut_where_it_is_long_and_its_command_is_whole_or_left_out(
    kind: str, rig: Rig, written: Written
) -> None:
    by = tuple(replace(one, cause="c" * 5_000) for one in UNSEEN.detectors * 40)
    long = replace(UNSEEN, cause="c" * 5_000, mend="m" * 5_000, detectors=by)
    with rig.receiver() as receiver:
        open_rig(kind, rig, receiver.url).deliver(replace(BLIND, unseen=long), "msg_1")
    [said] = [*map(rig.says, receiver.seen), *written()]
    assert "mmm" not in said
    assert len(said) < (2 * LARGEST_BODY if rig.over is Over.NOTHING else LARGEST_BODY)


@EVERY
def test_a_repeat_is_the_same_message_under_the_same_id(
    kind: str, rig: Rig, written: Written
) -> None:
    with rig.receiver() as receiver:
        channel = open_rig(kind, rig, receiver.url)
        channel.deliver(FULL, "msg_1")
        channel.deliver(FULL, "msg_1")
    bodies = {seen.body for seen in receiver.seen} | set(written())
    assert len(bodies) == 1
    if rig.over is not Over.NOTHING:
        assert [rig.message_id(seen) for seen in receiver.seen] == ["msg_1"] * 2


@EVERY
def test_several_are_told_in_one_message_where_the_table_says_so(kind: str, rig: Rig) -> None:
    hostile = 'x"}\r\n{"forged": true}\u2028<!channel> %s'
    other = an_alert(id="driftline:billing@v2:drift:1", adapter="billing", summary=hostile)
    with rig.receiver(busy=True) as receiver:
        channel = open_rig(kind, rig, receiver.url)
        together = CHANNELS[kind].groups is Groups.TOGETHER
        assert isinstance(channel, GroupedChannel) is together
        if not isinstance(channel, GroupedChannel):
            return
        receipt = channel.deliver_together([FULL, *[other] * 60], "msg_1")
        with pytest.raises(DeliveryFailed) as caught:
            channel.deliver_together([FULL, other], "msg_1")
    assert (receipt.status, caught.value.status) == ((202, 503) if rig.http else (None, None))
    assert not caught.value.permanent
    assert [rig.message_id(seen) for seen in receiver.seen] == ["msg_1"] * 2
    many, few = receiver.seen
    assert len(few.body) < len(many.body) < LARGEST_BODY
    for seen in (many, few):
        said = rig.says(seen)
        assert FULL.summary[:20] in said
        assert FULL.examples[0] not in said or kind == "webhook"


@EVERY
def test_a_huge_alert_stays_small(kind: str, rig: Rig, written: Written) -> None:
    huge = an_alert(
        reason="r" * 50_000,
        examples=("e" * 10_000,) * 100,
        changes=(a_change("c" * 10_000),) * 100,
        labels={str(i): "l" * 1_000 for i in range(100)},
    )
    with rig.receiver() as receiver:
        open_rig(kind, rig, receiver.url).deliver(huge, "msg_1")
    if rig.over is Over.NOTHING:
        assert len(written()[0]) < 2 * LARGEST_BODY
    else:
        assert 0 < len(receiver.seen[0].body) < LARGEST_BODY


@EVERY
def test_hostile_text_cannot_break_or_forge_a_message(
    kind: str, rig: Rig, written: Written
) -> None:
    hostile = 'x"}\r\n{"forged": true}\x1b[2J\u2028\u2029\x00\u202e<!channel> %s {0}'
    alert = an_alert(summary=hostile, reason=hostile, examples=(hostile,), owner=hostile)
    with rig.receiver() as receiver:
        open_rig(kind, rig, receiver.url).deliver(alert, "msg_1")
    if rig.over is not Over.NOTHING:
        [said] = map(rig.says, receiver.seen)
        assert "\n{" not in said
    else:
        (line,) = written()
        assert json.loads(line)["alert"]["summary"] == hostile
        assert line.isascii()
        assert line.isprintable()


@EVERY
def test_many_threads_may_deliver_at_once(kind: str, rig: Rig, written: Written) -> None:
    with rig.receiver() as receiver:
        channel = open_rig(kind, rig, receiver.url)
        threads = [
            threading.Thread(target=channel.deliver, args=(FULL, f"msg_{number}"))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ids = [rig.message_id(seen) for seen in receiver.seen]
    ids += [json.loads(line)["message_id"] for line in written()]
    assert sorted(ids) == [f"msg_{number}" for number in range(8)]


@EVERY
def test_unknown_keys_and_wrong_values_are_refused(kind: str, rig: Rig) -> None:
    options = dict(rig.options("http://127.0.0.1:9/hook"))
    with pytest.raises(ValueError, match="no key 'verify_tls'"):
        open_channel(kind, options | {"verify_tls": False}, client=CLIENT)
    for key in options:
        with pytest.raises(ValueError, match=r".+") as caught:
            open_channel(kind, options | {key: [PATH_SECRET]}, client=CLIENT)
        assert PATH_SECRET not in str(caught.value)


@EVERY
def test_settings_do_not_show_their_secrets(kind: str, rig: Rig) -> None:
    shown = repr(parse_settings(kind, rig.options("http://127.0.0.1:9/hook")))
    assert not any(secret in shown for secret in rig.secrets)


@OVER_HTTP
@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        *[(status, True) for status in (400, 410, 413, 415, 422)],
        *[(status, False) for status in (401, 403, 404, 408, 425, 429)],
        *[(status, False) for status in (301, 302, 303, 307, 308)],
        *[(status, False) for status in (500, 502, 503, 504)],
    ],
)
def test_the_status_decides_whether_to_try_again(
    kind: str,
    rig: Rig,
    status: int,
    permanent: bool,  # noqa: FBT001 - a table's column
) -> None:
    with Receiver([answer(status)]) as receiver:
        failure = failure_of(open_rig(kind, rig, receiver.url))
    assert (failure.status, failure.permanent) == (status, permanent)
    assert str(receiver.port) in failure.reason


@OVER_HTTP
def test_retry_after_reaches_the_outbox(kind: str, rig: Rig) -> None:
    with Receiver([answer(429, headers={"Retry-After": "30"})]) as receiver:
        assert failure_of(open_rig(kind, rig, receiver.url)).retry_after == 30.0


@OVER_HTTP
def test_redirects_lead_nowhere(kind: str, rig: Rig) -> None:
    with Receiver() as elsewhere:
        moved = answer(307, headers={"location": elsewhere.url})
        with Receiver([moved]) as receiver:
            assert not failure_of(open_rig(kind, rig, receiver.url)).permanent
    assert elsewhere.connections == 0


LEFT_OPEN = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
"""The standard library leaves a socket that is reset just before its handshake unclosed."""
BROKEN = pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(drip_body(), id="drips its body"),
        pytest.param(drip_head(), id="drips its headers"),
        pytest.param(lambda _: threading.Event().wait(30), id="hangs"),
        pytest.param(reset, id="RST"),
        pytest.param(raw(b""), id="hangs up"),
        pytest.param(raw(b"\x15\x03\x01\x00\x02\x02\x50"), id="another protocol"),
    ],
)


@OVER_A_NETWORK
@LEFT_OPEN
@BROKEN
def test_a_broken_receiver_is_tried_again(kind: str, rig: Rig, behaviour: Behaviour) -> None:
    with rig.broken(behaviour) as receiver:
        failure = failure_of(open_rig(kind, rig, receiver.url, timeout=SOON))
    assert (failure.permanent, failure.status) == (False, None)


@OVER_HTTP
def test_a_bomb_is_neither_read_nor_unpacked(kind: str, rig: Rig) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    bomb = gzip.compress(b"\0" * BOMB)
    tracemalloc.start()
    try:
        with Receiver([raw(head % len(bomb) + bomb)]) as receiver:
            open_rig(kind, rig, receiver.url, timeout=10.0).deliver(FULL, "msg_1")
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


@OVER_A_NETWORK
def test_its_receiver_is_reached_without_a_message(kind: str, rig: Rig) -> None:
    with rig.receiver() as receiver:
        given = rig.options(receiver.url)
        told = str(reach_receiver(kind, given, client=CLIENT, timeout=PATIENT))
        until(lambda: receiver.connections == 1, "a connection")
    assert receiver.seen == []
    assert told.endswith(f"://127.0.0.1:{receiver.port}/…")
    with pytest.raises(ConnectFailed):
        reach_receiver(kind, given, client=CLIENT, timeout=PATIENT)


def test_a_channel_of_this_machine_has_no_receiver() -> None:
    assert reach_receiver("log", {}, client=CLIENT, timeout=PATIENT) is None


@OVER_A_NETWORK
def test_an_absent_receiver_is_tried_again(kind: str, rig: Rig) -> None:
    channel = open_rig(kind, rig, f"http://127.0.0.1:{unused_port()}/hook")
    assert not failure_of(channel).permanent


@OVER_A_NETWORK
def test_a_forbidden_address_is_never_reached(kind: str, rig: Rig) -> None:
    strict = OutgoingClient(OutgoingPolicy())
    with rig.receiver() as receiver:
        channel = open_channel(kind, rig.options(receiver.url), client=strict)
        assert not failure_of(channel).permanent
    assert receiver.connections == 0


@OVER_HTTP
@pytest.mark.parametrize("url", ["ftp://x.example/", "http://u:p@x.example/", "hooks", ""])
def test_an_impossible_url_is_refused_on_opening(kind: str, rig: Rig, url: str) -> None:
    with pytest.raises(ValueError, match=f"channel '{kind}'"):
        open_channel(kind, {**rig.options("http://x.example"), "url": url}, client=CLIENT)


@OVER_A_NETWORK
@LEFT_OPEN
@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(answer(500, body=PATH_SECRET.encode()), id="echoes"),
        pytest.param(answer(302, headers={"location": f"http://x/{PATH_SECRET}"}), id="redirects"),
        pytest.param(reset, id="RST"),
        pytest.param(drip_body(), id="drips"),
        pytest.param(raw(PATH_SECRET.encode() * 9), id="garbage"),
    ],
)
def test_no_secret_reaches_an_error_a_traceback_or_a_log(
    kind: str, rig: Rig, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with rig.broken(behaviour) as receiver:
        failure = failure_of(open_rig(kind, rig, receiver.url, timeout=SOON))
    shown = "".join(traceback.format_exception(failure)) + repr(failure) + failure.reason
    for secret in rig.secrets:
        assert secret not in shown
        assert secret not in caplog.text


@pytest.mark.parametrize("body", ["driftline", "alertmanager"])
def test_the_standard_verifier_accepts_what_was_received(body: str) -> None:
    with Receiver() as receiver:
        options = webhook(receiver.url, body=body)
        open_channel("webhook", options, client=CLIENT).deliver(FULL, "msg_1")
    seen = receiver.seen[0]
    assert Verifier(SECRET).verify(seen.body, dict(seen.headers)) == json.loads(seen.body)
    assert seen.headers["content-type"] == "application/json"


def test_a_log_that_cannot_be_written_is_a_failed_delivery() -> None:
    closed = io.StringIO()
    closed.close()
    with redirect_stderr(closed):
        channel = open_channel("log", {}, client=CLIENT)
        failure = failure_of(channel)
    assert not failure.permanent


def test_an_unknown_kind_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'webhook'"):
        open_channel("webhok", {}, client=CLIENT)
