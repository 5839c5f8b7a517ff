import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.brief import brief
from alerts.channels.slack import escaped, slack_body
from alerts.formats import LARGEST_BODY
from alerts.message import Alert, Links, Together
from alerts.types import Severity, Status
from tests.alert_samples import FULL, a_change, an_alert
from tests.alerts.receiving import SlackHeader, SlackMessage, slack_message, units

NAMES = r"Incident|Acknowledge|False alarm\?|Runbook|About the detector|Dashboard"
LINK = re.compile(rf"<(https?://[^\s<>|]+)\|({NAMES})>")
"""The only thing in angle brackets that a message may have."""


def told(alert: Alert) -> SlackMessage:
    return slack_message(slack_body(alert, "msg_1"))


def title(alert: Alert) -> str:
    first = told(alert).blocks[0]
    assert isinstance(first, SlackHeader)
    return first.text.text


def test_a_message_says_what_people_need_first() -> None:
    message = told(FULL)
    assert message.text == brief(FULL).title
    said = "\n".join(message.texts)
    for words in (
        "*Impact* Answers since 11:10 UTC are less certain than normal ones in 69",
        "owner search",
        "*Likely cause* The adapter's weights.",
        "vLLM 0.33",
        "*Driftline* Moved 100 % of traffic to v6, confirmed by the router.",
        "*You* 1) Check that v6",
        "Details: answers less certain, sure enough for a page",
        "<https://driftline.example/incidents/3|Incident>",
        "<https://driftline.example/incidents/3#do-title|Acknowledge>",
        "<https://wiki.example/support|Runbook>",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("status", "severity", "words"),
    [
        (Status.STARTED, Severity.TICKET, "[TICKET] "),
        (Status.WORSENED, Severity.PAGE, "[PAGE, was a ticket] "),
        (Status.REOPENED, Severity.PAGE, "[PAGE again] "),
        (Status.UPDATED, Severity.PAGE, "[PAGE update] "),
        (Status.RECOVERED, Severity.PAGE, "[RESOLVED] "),
    ],
)
def test_the_first_word_is_what_happened(status: Status, severity: Severity, words: str) -> None:
    assert title(an_alert(status=status, severity=severity)).startswith(f"{words}support@v7")


def test_a_fleet_incident_is_about_its_base() -> None:
    fleet = Together(base="llama-3.1-8b", members=("support@v7", "billing@v2"), of=10)
    assert title(an_alert(together=fleet)).startswith("[PAGE] 2 of 10 adapters on llama-3.1-8b")


HOSTILE = (
    "<!channel>",
    "<!here|here>",
    "<@U012AB3CD>",
    "<http://evil.example|https://driftline.example>",
    "a\n*Recovered*\r\n> quoted",
    "&lt;!channel&gt;",
    "\u202ereversed\u2066 \u200bzero\x1b[2J\x00",
    "\u2028<!subteam^S1>\u2029",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_a_link_a_mention_or_a_line(text: str) -> None:
    message = told(everywhere(text))
    for shown in message.texts:
        assert re.sub(LINK, "", shown).count("<") == 0
        assert re.sub(LINK, "", shown).count(">") == 0
    assert "&amp;lt;" in message.text or "&lt;" not in text
    assert all("\n" not in shown for shown in message.texts)
    for shown in message.texts:
        assert not set(shown) & set("\r\x00\x1b\u2028\u2029\u202e\u2066\u200b")


def everywhere(text: str) -> Alert:
    return an_alert(
        adapter=text,
        version=text,
        owner=text,
        tier=text,
        summary=text,
        reason=text,
        changes=(a_change(text),) * 30,
        together=None,
        id=f"driftline:{text}",
    )


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "https://x.example/|<!channel>",
        "https://x.example/>\n<!here>",
        "https://x.example/" + "a" * 2_000,
    ],
)
def test_an_address_cannot_break_out_of_its_link(address: str) -> None:
    message = told(an_alert(links=Links(runbook=address)))
    rest = re.sub(LINK, "", "\n".join(message.texts))
    assert "<" not in rest


def test_text_of_users_is_never_sent() -> None:
    assert FULL.examples[0].encode() not in slack_body(FULL, "m")


@given(st.text(max_size=3_000), st.integers(2, 200))
def test_what_is_cut_keeps_its_length_and_whole_escapes(text: str, longest: int) -> None:
    shown = escaped(text, longest=longest)
    assert units(shown) <= longest
    assert not re.search(r"&(?!amp;|lt;|gt;)", shown)


@given(st.sampled_from(["a", "&", "<", "\n", "é", "\u2028", "😀", "&lt;"]), st.integers(1, 3_000))
def test_whatever_an_alert_says_keeps_to_the_documented_limits(letter: str, long: int) -> None:
    alert = everywhere(letter * long)
    assert len(slack_body(alert, "m")) < LARGEST_BODY
    slack_message(slack_body(alert, "m"))
