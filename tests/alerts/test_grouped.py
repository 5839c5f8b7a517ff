"""One message about several incidents: whole where it fits, counted where it does not."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerts.channels.slack import slack_body, slack_list
from alerts.channels.teams import teams_list
from alerts.formats import LARGEST_BODY, WebhookBody, body_of
from alerts.grouped import MOST_LISTED, counted, group_body_of, listed
from alerts.message import Alert
from alerts.types import Reason, Severity, Status
from tests.alert_samples import FULL, NOON, an_alert
from tests.alerts.receiving import slack_message

HOSTILE = "<!channel> & <http://evil.example|ours>\n" * 40


def one(number: int, **changes: Any) -> Alert:
    adapter = f"adapter-{number}"
    return an_alert(
        id=f"driftline:{adapter}@v7:drift:1",
        adapter=adapter,
        summary=f"{adapter}@v7: answers less certain",
        **changes,
    )


PAGE = one(1)
TICKET = one(2, severity=Severity.TICKET)
OVER = one(3, status=Status.RECOVERED, recovered_at=NOON + timedelta(hours=1))
THREE = [PAGE, TICKET, OVER]
MANY = [one(number) for number in range(300)]
RENDERED = {
    "driftline": lambda alerts: group_body_of(alerts, WebhookBody.DRIFTLINE),
    "alertmanager": lambda alerts: group_body_of(alerts, WebhookBody.ALERTMANAGER),
    "slack": lambda alerts: slack_list(alerts, "msg_1"),
    "teams": lambda alerts: teams_list(alerts, "msg_1"),
}


def test_a_webhook_reads_the_most_urgent_in_full_and_all_as_lines() -> None:
    body = json.loads(group_body_of(THREE, WebhookBody.DRIFTLINE))
    alone = json.loads(body_of(PAGE, WebhookBody.DRIFTLINE))
    assert {key: said for key, said in body.items() if key != "group"} == {
        key: said for key, said in alone.items() if key != "group"
    }
    assert (body["group"]["size"], body["group"]["truncated_alerts"]) == (3, 0)
    lines = [(line["id"], line["status"], line["firing"]) for line in body["group"]["alerts"]]
    assert lines == [(alert.id, alert.status.value, alert.firing) for alert in THREE]


def test_a_single_alert_is_no_group() -> None:
    for form in WebhookBody:
        assert group_body_of([FULL], form) == body_of(FULL, form)


def test_alertmanagers_body_has_them_all_and_what_they_share() -> None:
    body = json.loads(group_body_of(THREE, WebhookBody.ALERTMANAGER))
    assert [entry["status"] for entry in body["alerts"]] == ["firing", "firing", "resolved"]
    assert body["status"] == "firing"
    assert body["truncatedAlerts"] == 0
    assert body["groupLabels"] == {"owner": "search", "blame": "adapter"}
    assert body["groupKey"] == '{}:{owner="search",blame="adapter"}'
    assert "adapter" not in body["commonLabels"]
    assert "severity" not in body["commonLabels"]
    assert len({entry["fingerprint"] for entry in body["alerts"]}) == 3
    over = json.loads(group_body_of([OVER, replace(OVER, id="x")], WebhookBody.ALERTMANAGER))
    assert over["status"] == "resolved"


@pytest.mark.parametrize("render", RENDERED.values(), ids=RENDERED)
@pytest.mark.parametrize("changes", [{}, {"summary": HOSTILE, "reason": HOSTILE * 9}])
def test_a_crowd_fits_and_who_is_left_out_is_counted(render: Any, changes: dict[str, Any]) -> None:
    crowd = [replace(alert, **changes) for alert in MANY]
    body = render(crowd)
    assert len(body) < LARGEST_BODY
    read = json.loads(body)
    match read:
        case {"group": {"alerts": shown, "truncated_alerts": left_out}}:
            pass
        case {"alerts": shown, "truncatedAlerts": left_out}:
            pass
        case {"blocks": [_, *shown, footer]}:
            text = footer["elements"][0]["text"]
            left_out = int(text.partition("and ")[2].partition(" more")[0])
        case {"attachments": [{"content": {"body": [_, *shown, footer]}}]}:
            text = footer["inlines"][0]["text"]
            left_out = int(text.partition("and ")[2].partition(" more")[0])
        case _:
            raise AssertionError(read)
    assert 3 <= len(shown) <= MOST_LISTED
    assert len(shown) + left_out == len(crowd)


def test_slack_lists_them_escaped_with_a_link_for_each() -> None:
    body = json.loads(slack_list([PAGE, replace(OVER, adapter=HOSTILE)], "msg_1"))
    title, first, second, footer = (block.get("text") or block for block in body["blocks"])
    assert title["text"] == "Incidents: 1 page, 1 recovered" == body["text"]
    assert first["text"] == (
        "*Page* adapter-1@v7: answers less certain since 11:10 UTC; traffic moved to v6"
        " <https://driftline.example/incidents/3|Incident>"
    )
    assert second["text"].startswith("*Recovered* &lt;!channel&gt; &amp; &lt;http")
    assert "\n" not in second["text"]
    assert footer["elements"][0]["text"] == "Owner search · (msg_1)"


def test_a_list_is_a_message_that_slack_takes() -> None:
    for crowd in (THREE, MANY, [replace(one, adapter=HOSTILE) for one in MANY]):
        message = slack_message(slack_list(crowd, "msg_1"))
        assert all("<!" not in text for text in message.texts)


def test_a_repeat_says_that_it_is_one() -> None:
    again = replace(PAGE, notification_reason=Reason.REPEAT)
    assert json.loads(slack_list([again, again], "m"))["text"] == "Still open: 2 pages"
    assert json.loads(slack_body(again, "m"))["text"].startswith("[PAGE, still open] adapter-1@v7")
    assert json.loads(group_body_of([again], WebhookBody.ALERTMANAGER))["notificationReason"] == (
        "repeat_interval_elapsed"
    )


def test_no_text_of_users_is_listed() -> None:
    assert FULL.examples
    for render in RENDERED.values():
        assert FULL.examples[0].encode() not in render([an_alert(examples=()), FULL])


def test_what_a_list_leaves_out_is_counted() -> None:
    assert listed(MANY).of == len(MANY)
    assert counted([PAGE, PAGE, TICKET, OVER]) == "2 pages, 1 ticket, 1 recovered"
