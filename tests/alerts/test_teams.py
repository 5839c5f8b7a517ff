import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.brief import brief
from alerts.channels.teams import teams_body, teams_list
from alerts.formats import LARGEST_BODY
from alerts.message import Alert, Links
from tests.alert_samples import FULL, a_change, an_alert
from tests.alerts.receiving import TeamsCard, teams_card

HOSTILE = (
    "[click](http://evil.example)",
    "**bold** <at>everyone</at>",
    "a\n\n# heading\r\n- item",
    "\u202ereversed\u2066 \u200bzero\x1b[2J\x00",
)


def told(alert: Alert) -> TeamsCard:
    return teams_card(teams_body(alert, "msg_1"))


def test_a_card_says_what_people_need_first() -> None:
    card = told(FULL)
    title, *parts, footer = [one.text for one in card.body]
    assert title == brief(FULL).title
    said = "\n".join(parts)
    for words in (
        "Impact Answers since 11:10 UTC are less certain than normal ones in 69",
        "Likely cause The adapter's weights.",
        "Driftline Moved 100 % of traffic to v6, confirmed by the router.",
        "You 1) Check that v6",
        "Details: answers less certain, sure enough for a page",
    ):
        assert words in said
    assert footer.endswith("(msg_1)")
    opened = {action.title: action.url for action in card.actions}
    assert opened["Incident"] == "https://driftline.example/incidents/3"
    assert opened["Runbook"] == "https://wiki.example/support"


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


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_only_ever_a_run_of_plain_text_on_one_line(text: str) -> None:
    card = told(everywhere(text))  # read strictly: there is no element but these runs
    for one in card.body:
        assert not set(one.text) & set("\n\r\x00\x1b\u2028\u2029\u202e\u2066\u200b")
    assert all(re.match(r"https?://", action.url) for action in card.actions)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://x.example/" + "a" * 2_000])
def test_an_address_that_is_none_is_no_button(address: str) -> None:
    assert not told(an_alert(links=Links(runbook=address))).actions


def test_a_list_names_each_incident_and_opens_it() -> None:
    card = teams_card(teams_list([FULL, an_alert(adapter=HOSTILE[0])], "msg_1"))
    title, first, second, footer = card.body
    assert title.text.startswith("Incidents: 2")
    assert first.inlines[0].text == "Page "
    assert first.inlines[1].select_action is not None
    assert HOSTILE[0] in second.text
    assert "(msg_1)" in footer.text


def test_text_of_users_is_never_sent() -> None:
    assert FULL.examples[0].encode() not in teams_body(FULL, "m")


@given(st.text(max_size=200))
def test_any_text_gives_a_card_that_teams_takes(text: str) -> None:
    body = teams_body(everywhere(text), "m")
    assert len(body) < LARGEST_BODY
    assert json.loads(body)["type"] == "message"
    teams_card(body)
