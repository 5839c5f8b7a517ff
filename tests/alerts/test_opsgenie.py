from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.brief import brief
from alerts.channels import open_channel
from alerts.channels.opsgenie import OpsgenieSettings, alias, opening
from alerts.delivery import DeliveryFailed
from alerts.formats import LARGEST_BODY
from alerts.message import Alert, Together
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.samples import sample_messages
from alerts.types import Reason, Severity, Status
from tests.alert_samples import FULL, UPDATED, a_change, an_alert
from tests.alerts.receiving import OpsgenieAlert, OpsgenieFollowUp, opsgenie_alert
from tests.loopback import LOOPBACK, Behaviour, Receiver, Seen, answer

KEY = "0fb2f8ad-52ee-4a4c-8a43-6c2a31d2d5ae"
CLIENT = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
TICKET, PAGE = (alias(FULL.id, severity) for severity in (Severity.TICKET, Severity.PAGE))


def sent(*alerts: Alert, script: tuple[Behaviour, ...] = (answer(202),)) -> list[Seen]:
    with Receiver(script) as receiver:
        channel = open_channel("opsgenie", {"key": KEY, "url": receiver.url}, client=CLIENT)
        for alert in alerts:
            channel.deliver(alert, "msg_1")
    return receiver.seen


def follow_up(seen: Seen) -> OpsgenieFollowUp:
    return msgspec.json.decode(seen.body, type=OpsgenieFollowUp)


def requests(seen: list[Seen]) -> list[tuple[str, str]]:
    """Name each request's action and the alert that it is about, read as Opsgenie documents it."""
    return [_request(one) for one in seen]


def _request(seen: Seen) -> tuple[str, str]:
    assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
    assert seen.headers["authorization"] == f"GenieKey {KEY}"
    address = urlsplit(seen.path)
    _, _, about = address.path.partition("/v2/alerts")
    if not about:
        return "create", opsgenie_alert(seen.body).alias
    assert parse_qs(address.query) == {"identifierType": ["alias"]}
    assert follow_up(seen).source == "driftline"
    _, name, action = about.split("/")
    return action, name


def created(alert: Alert) -> OpsgenieAlert:
    [seen] = sent(alert)
    return opsgenie_alert(seen.body)


def test_an_alert_says_what_people_need_first() -> None:
    found = created(FULL)
    assert (found.message, found.priority, found.entity) == (brief(FULL).title, "P1", "support@v7")
    assert found.description.startswith(f"Impact: {brief(FULL).impact}\n")
    assert found.tags == ["driftline", "drift", "page"]
    assert found.details["incident_id"] == FULL.id
    assert found.details["owner"] == "search"
    assert found.details["Runbook"] == FULL.links.runbook


def test_a_ticket_is_of_the_usual_priority() -> None:
    assert created(an_alert(severity=Severity.TICKET)).priority == "P3"


def test_an_update_is_a_note_on_the_alert_that_is_open_or_opens_it_again() -> None:
    seen = sent(FULL, UPDATED)
    assert requests(seen) == [("create", PAGE), ("create", PAGE), ("notes", PAGE)]
    assert UPDATED.update is not None
    assert follow_up(seen[2]).note == f"{UPDATED.update.text} (msg_1)"


def test_an_update_of_what_nobody_has_in_hand_any_more_calls_people_again() -> None:
    update = an_alert(status=Status.UPDATED, notification_reason=Reason.LET_GO)
    assert requests(sent(update)) == [("close", PAGE), ("create", PAGE)]


def test_a_page_opens_an_alert_of_its_own_and_each_one_is_taken_or_ends() -> None:
    assert TICKET != PAGE
    seen = sent(
        an_alert(severity=Severity.TICKET),
        an_alert(status=Status.ACKNOWLEDGED, severity=Severity.TICKET),
        an_alert(status=Status.WORSENED),
        an_alert(status=Status.RECOVERED),
        an_alert(status=Status.REOPENED, severity=Severity.TICKET),
        an_alert(status=Status.RECOVERED, severity=Severity.TICKET),
    )
    assert requests(seen) == [
        ("create", TICKET),
        ("acknowledge", TICKET),
        *(("create", PAGE), ("close", TICKET)),
        ("close", PAGE),
        ("create", TICKET),
        ("close", TICKET),
    ]


def test_an_alert_that_nobody_has_in_hand_any_more_is_opened_anew() -> None:
    let_go = an_alert(notification_reason=Reason.LET_GO)
    again = an_alert(notification_reason=Reason.REPEAT)
    seen = sent(FULL, an_alert(status=Status.ACKNOWLEDGED), let_go, again)
    assert requests(seen) == [
        ("create", PAGE),
        ("acknowledge", PAGE),
        *(("close", PAGE), ("create", PAGE)),
        ("create", PAGE),
    ]


@pytest.mark.parametrize("status", [Status.WORSENED, Status.UPDATED])
def test_a_message_whose_second_request_failed_is_tried_again_whole(status: Status) -> None:
    alert = an_alert(status=status, notification_reason=Reason.UPDATED)
    with pytest.raises(DeliveryFailed) as caught:
        sent(alert, script=(answer(202), answer(429)))
    assert not caught.value.permanent


def test_a_fleet_incident_is_about_its_base() -> None:
    together = Together(base="llama-3.1-8b", members=("support@v7",), of=10)
    assert created(an_alert(adapter="", version="", together=together)).entity == "llama-3.1-8b"
    unnamed = Together(base="", members=(), of=2)
    found = created(an_alert(adapter="", version="", together=unnamed))
    assert found.entity == "unknown base model"


def test_text_of_users_is_never_sent() -> None:
    assert FULL.examples[0].encode() not in opening(FULL, "m")


def test_every_kind_of_message_is_taken() -> None:
    alerts = [alert for group in sample_messages() for alert in group]
    assert {action for action, _ in requests(sent(*alerts))} >= {"create", "close", "notes"}


@given(text=st.text(st.characters(codec="utf-8"), max_size=3_000))
def test_whatever_an_alert_says_keeps_to_the_limits_of_opsgenie(text: str) -> None:
    alert = an_alert(
        id=f"driftline:{text[:255]}",
        adapter=text[:128],
        owner=text[:128],
        summary=text,
        reason=text,
        changes=(a_change(text),) * 20,
        labels={text: text},
    )
    body = opening(alert, "m")
    assert len(body) < LARGEST_BODY
    assert opsgenie_alert(body).alias.endswith("-page")


@pytest.mark.parametrize("key", ["", "GenieKey 0fb2f8ad", "0fb2\r\nx: y", "0fb2é"])
def test_a_key_that_is_none_of_opsgenie_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="without GenieKey") as caught:
        open_channel("opsgenie", {"key": key}, client=CLIENT)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://api.eu.opsgenie.com/", "https://api.eu.opsgenie.com/v2/alerts"),
        (
            "https://api.atlassian.com/jsm/ops/integration",
            "https://api.atlassian.com/jsm/ops/integration/v2/alerts",
        ),
        (
            "https://api.atlassian.com/jsm/ops/integration/v2/alerts",
            "https://api.atlassian.com/jsm/ops/integration/v2/alerts",
        ),
    ],
)
def test_an_address_may_be_that_of_the_api_or_of_its_alerts(url: str, endpoint: str) -> None:
    assert OpsgenieSettings(key=KEY, url=url).endpoint == endpoint
    assert OpsgenieSettings(key=KEY).endpoint == "https://api.opsgenie.com/v2/alerts"
