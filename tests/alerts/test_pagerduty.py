import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.brief import brief
from alerts.channels import open_channel
from alerts.channels.pagerduty import ENDPOINTS, PagerDutySettings, Region, dedup_key, trigger
from alerts.delivery import DeliveryFailed
from alerts.formats import LARGEST_BODY
from alerts.message import Alert, Together
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.types import Reason, Severity, Status
from tests.alert_samples import FULL, UPDATED, a_change, an_alert
from tests.alerts.receiving import PagerDutyEvent, pagerduty_event
from tests.loopback import LOOPBACK, Behaviour, Receiver, answer

KEY = "a" * 32
CLIENT = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))


def sent(*alerts: Alert, script: tuple[Behaviour, ...] = (answer(202),)) -> list[PagerDutyEvent]:
    """Deliver to a receiver; what it saw, read by PagerDuty's documented schema."""
    with Receiver(script) as receiver:
        channel = open_channel(
            "pagerduty", {"routing_key": KEY, "url": receiver.url}, client=CLIENT
        )
        for alert in alerts:
            channel.deliver(alert, "msg_1")
    return [pagerduty_event(seen.body) for seen in receiver.seen]


def actions(events: list[PagerDutyEvent]) -> list[tuple[str, str]]:
    return [(event.event_action, event.dedup_key) for event in events]


def test_an_event_says_what_people_need_first() -> None:
    [event] = sent(FULL)
    payload = event.payload
    assert payload is not None
    assert (payload.summary, payload.severity) == (brief(FULL).title, "critical")
    assert (payload.source, payload.component, payload.group) == ("support@v7", "support", "search")
    assert payload.custom_details["scores"][1]["evidence"] is None
    assert payload.custom_details["changes"] == [FULL.changes[0].text]
    assert {link.text: link.href for link in event.links}["Runbook"] == FULL.links.runbook


def test_a_ticket_does_not_wake_anybody() -> None:
    [event] = sent(an_alert(severity=Severity.TICKET))
    assert event.payload is not None
    assert event.payload.severity == "warning"


def test_an_update_is_added_to_the_alert_that_is_open_and_begins_with_what_has_changed() -> None:
    opened, update = sent(FULL, UPDATED)
    assert (update.event_action, update.dedup_key) == ("trigger", opened.dedup_key)
    assert update.payload is not None
    assert UPDATED.update is not None
    assert update.payload.summary == f"{brief(UPDATED).title}. {UPDATED.update.text}"
    assert update.payload.custom_details["update"]["blame"] == {"was": "adapter", "now": "input"}


def test_an_update_of_what_nobody_has_in_hand_any_more_calls_people_again() -> None:
    [ended, anew] = sent(an_alert(status=Status.UPDATED, notification_reason=Reason.LET_GO))
    assert (ended.event_action, anew.event_action) == ("resolve", "trigger")
    assert ended.dedup_key == anew.dedup_key


def test_a_page_opens_an_alert_of_its_own_and_each_one_is_taken_or_ends() -> None:
    ticket, page = (dedup_key(FULL.id, severity) for severity in (Severity.TICKET, Severity.PAGE))
    assert ticket != page
    events = sent(
        an_alert(severity=Severity.TICKET),
        an_alert(status=Status.ACKNOWLEDGED, severity=Severity.TICKET),
        an_alert(status=Status.WORSENED),
        an_alert(status=Status.RECOVERED),
        an_alert(status=Status.REOPENED, severity=Severity.TICKET),
        an_alert(status=Status.RECOVERED, severity=Severity.TICKET),
    )
    assert actions(events) == [
        ("trigger", ticket),
        ("acknowledge", ticket),
        *(("trigger", page), ("resolve", ticket)),
        ("resolve", page),
        ("trigger", ticket),
        ("resolve", ticket),
    ]


def test_an_alert_that_nobody_has_in_hand_any_more_is_opened_anew() -> None:
    page = dedup_key(FULL.id, Severity.PAGE)
    events = sent(
        FULL,
        an_alert(status=Status.ACKNOWLEDGED),
        an_alert(notification_reason=Reason.LET_GO),
        an_alert(notification_reason=Reason.REPEAT),
    )
    assert actions(events) == [
        ("trigger", page),
        ("acknowledge", page),
        *(("resolve", page), ("trigger", page)),
        ("trigger", page),
    ]


def test_a_page_whose_ticket_could_not_be_resolved_is_tried_again_whole() -> None:
    with pytest.raises(DeliveryFailed) as caught:
        sent(an_alert(status=Status.WORSENED), script=(answer(202), answer(500)))
    assert not caught.value.permanent


def test_a_fleet_incident_is_about_its_base() -> None:
    together = Together(base="llama-3.1-8b", members=("support@v7",), of=10)
    [event] = sent(an_alert(adapter="", version="", together=together))
    assert event.payload is not None
    assert (event.payload.source, event.payload.component) == ("llama-3.1-8b", "")
    [unnamed] = sent(an_alert(adapter="", version="", together=Together(base="", members=(), of=2)))
    assert unnamed.payload is not None
    assert unnamed.payload.source == "unknown base model"


def test_text_of_users_is_never_sent() -> None:
    assert FULL.examples[0].encode() not in trigger(FULL, "m", routing_key=KEY)


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=3_000),
    severity=st.sampled_from(list(Severity)),
)
def test_whatever_an_alert_says_keeps_to_the_documented_limits(
    text: str, severity: Severity
) -> None:
    alert = an_alert(
        id=f"driftline:{text[:255]}",
        severity=severity,
        adapter=text[:128],
        owner=text[:128],
        summary=text,
        reason=text,
        changes=(a_change(text),) * 20,
        labels={text: text},
    )
    body = trigger(alert, "m", routing_key=KEY)
    assert len(body) < LARGEST_BODY
    assert pagerduty_event(body).dedup_key.endswith(f":{severity}")


@pytest.mark.parametrize("key", ["", "short", "a" * 33, "a" * 31 + "-"])
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="32 letters and digits") as caught:
        open_channel("pagerduty", {"routing_key": key}, client=CLIENT)
    assert not key or key not in str(caught.value)


def test_each_region_has_its_own_address() -> None:
    assert PagerDutySettings(routing_key=KEY).endpoint == ENDPOINTS[Region.US]
    assert (
        PagerDutySettings(routing_key=KEY, region=Region.EU).endpoint
        == "https://events.eu.pagerduty.com/v2/enqueue"
    )
