"""A page that nobody acknowledges calls the next channel: a webhook first, then e-mail.

One service, started twice: at first the second channel is due in an hour, then at once. So no
machine is too slow for the person who acknowledges.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.inbox import Inbox
from tests.mail_server import LOGIN, MailReceiver, authority_file, mail_of
from tests.service import Service, Talk, baseline, running, until

SECOND = """
[[channels]]
name = "second-line"
kind = "email"
host = "127.0.0.1"
port = PORT
sender = "driftline@example.com"
to = ["second-line@example.com"]
username = "USER"
password_file = "PASSWORD"
match = { severity = ["page"] }
unacknowledged_for = "AFTER"
"""
IGNORED, TAKEN_UP = "support", "billing"
REFERENCE = 350
"""Baseline records: a provisional reference."""


@pytest.fixture
def first() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


@pytest.fixture
def second() -> Iterator[MailReceiver]:
    with MailReceiver() as opened:
        yield opened


def second_line(folder: Path, receiver: MailReceiver, *, after: str) -> str:
    secret = folder / "password"
    secret.write_text(LOGIN[1])
    values = {"PORT": str(receiver.port), "USER": LOGIN[0], "PASSWORD": str(secret), "AFTER": after}
    said = SECOND
    for name, value in values.items():
        said = said.replace(name, value)
    return said


def told(inbox: Inbox, **wanted: str) -> set[str]:
    """Give the adapters that a message of this kind was about."""
    return {
        message.alert["adapter"]
        for message in inbox.messages
        if all(message.alert[key] == value for key, value in wanted.items())
    }


def incident_of(service: Service, adapter: str) -> dict[str, Any]:
    [found] = service.get("/v1/incidents", adapter=adapter, open=True)["items"]
    return dict(found)


def drift(service: Service, talks: Sequence[Talk]) -> bool:
    """Send answers that drift; true once every adapter is critical."""
    for talk in talks:
        service.send(talk.records(30, shift=3.0))
    return all(service.verdict(talk.adapter) == "critical" for talk in talks)


def end(service: Service, adapter: str) -> None:
    path = f"/v1/incidents/{incident_of(service, adapter)['incident']}/false"
    assert service.call("POST", path, json={"reason": "a test"}).is_success


def test_only_a_page_that_nobody_acknowledges_calls_the_next_channel_and_only_there_it_ends(
    tmp_path: Path, first: Inbox, second: MailReceiver
) -> None:
    talks = [Talk(IGNORED), Talk(TAKEN_UP)]
    changes = {"outgoing.ca_file": authority_file()}
    waiting = second_line(tmp_path, second, after="1h")
    with running(tmp_path, inbox=first, changes=changes, channels=waiting) as service:
        for talk in talks:
            service.register(talk.adapter, "v1", base_model=f"base of {talk.adapter}")
            service.upload(talk.adapter, "v1", baseline(REFERENCE))
        until(lambda: drift(service, talks), "drift of both")
        until(lambda: told(first, severity="page") == {IGNORED, TAKEN_UP}, "both pages")
        number = incident_of(service, TAKEN_UP)["incident"]
        assert service.call("POST", f"/v1/incidents/{number}/ack", json={}).is_success
        assert second.seen == []  # an hour has not passed

        service.terminate()
        service.channels = second_line(tmp_path, second, after="1ms")
        service.start()
        until(lambda: len(second.seen), "a mail to the second line")
        assert incident_of(service, TAKEN_UP)["acknowledged_by"]

        for adapter in (TAKEN_UP, IGNORED):
            end(service, adapter)
        until(lambda: told(first, status="recovered") == {IGNORED, TAKEN_UP}, "both ends")
        until(lambda: "RESOLVED" in mail_of(second.seen[-1])["subject"], "the end by mail")

    mails = [mail_of(seen) for seen in second.seen]
    subjects = [str(mail["subject"]) for mail in mails]
    assert subjects[0].startswith(f"[PAGE, unacknowledged] {IGNORED}@v1: ")
    assert subjects[-1].startswith(f"[RESOLVED] {IGNORED}@v1: closed as a false alarm")
    assert not any(TAKEN_UP in subject for subject in subjects)
    assert len({mail["references"] for mail in mails}) == 1
    assert {tuple(one.rcpt_tos) for one in second.envelopes} == {("second-line@example.com",)}
