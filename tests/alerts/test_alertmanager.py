from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.channels import open_channel
from alerts.channels.alertmanager import Alertmanager, AlertmanagerSettings, postable
from alerts.delivery import DeliveryFailed, Refreshing
from alerts.formats import LARGEST_BODY, alertmanager_body
from alerts.message import Alert, Links
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.types import Status
from tests.alert_samples import FULL, NOON, UPDATED, an_alert
from tests.alerts.receiving import PostableAlert, postable_alerts
from tests.loopback import LOOPBACK, Receiver, answer

CLIENT = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))


def posted(alert: Alert) -> PostableAlert:
    [one] = postable_alerts(b"[%s]" % postable(alert, "msg_1"))
    return one


def test_a_firing_alert_has_no_end_and_a_recovered_one_has() -> None:
    firing = posted(FULL)
    assert (firing.starts_at, firing.ends_at) == (NOON, None)
    end = NOON + timedelta(hours=2)
    over = posted(an_alert(status=Status.RECOVERED, recovered_at=end))
    assert over.ends_at == end
    # the labels are the identity: it must be the same alert that ends
    assert over.labels == firing.labels


def test_an_update_changes_annotations_and_not_the_labels_that_are_its_identity() -> None:
    firing, update = posted(FULL), posted(UPDATED)
    assert update.labels == firing.labels
    assert update.starts_at == firing.starts_at
    assert update.annotations["blame_now"] == "input"
    assert update.annotations["summary"] == UPDATED.summary
    assert "update" not in firing.annotations
    over = posted(replace(UPDATED, status=Status.RECOVERED, recovered_at=NOON, update=None))
    assert over.labels == firing.labels
    theirs = msgspec.json.decode(alertmanager_body(UPDATED))["alerts"][0]
    assert (
        theirs["fingerprint"]
        == (msgspec.json.decode(alertmanager_body(FULL))["alerts"][0]["fingerprint"])
    )
    assert theirs["labels"] == firing.labels


def test_it_says_what_the_webhook_body_says() -> None:
    theirs = msgspec.json.decode(alertmanager_body(FULL))["alerts"][0]
    ours = posted(FULL)
    assert ours.labels == theirs["labels"]
    assert ours.annotations == theirs["annotations"] | {
        "incident": FULL.id,
        "message_id": "msg_1",
    }
    assert ours.generator == theirs["generatorURL"]


def test_a_test_cannot_be_taken_for_the_real_thing() -> None:
    assert posted(an_alert(test=True)).labels["alertname"] == "DriftlineTest"


def test_text_of_users_is_never_sent() -> None:
    assert FULL.examples[0].encode() not in postable(FULL, "m")


@given(names=st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=8))
def test_every_label_has_a_name_that_alertmanager_takes(names: dict[str, str]) -> None:
    one = posted(an_alert(labels=names, links=Links()))
    assert (one.labels["adapter"], one.labels["alertname"]) == ("support", "DriftlineDrift")
    assert len(postable(an_alert(labels=names), "m")) < LARGEST_BODY


def test_all_that_is_not_over_is_told_again_in_few_requests() -> None:
    messages = [(an_alert(id=f"driftline:{number}"), f"msg_{number}") for number in range(120)]
    with Receiver([answer(200)]) as receiver:
        channel = open_channel("alertmanager", {"url": receiver.url, "token": "t0"}, client=CLIENT)
        assert isinstance(channel, Refreshing)
        channel.refresh(messages)
    assert [len(postable_alerts(seen.body)) for seen in receiver.seen] == [50, 50, 20]
    assert {seen.path for seen in receiver.seen} == {"/hook/api/v2/alerts"}
    assert {seen.headers["authorization"] for seen in receiver.seen} == {"Bearer t0"}


def test_a_refresh_that_is_not_taken_says_so() -> None:
    with Receiver([answer(500)]) as receiver:
        channel = Alertmanager(AlertmanagerSettings(url=receiver.url), CLIENT)
        with pytest.raises(DeliveryFailed):
            channel.refresh([(FULL, "msg_1")])


def test_a_third_of_the_timeout_lies_between_two_tellings() -> None:
    settings = AlertmanagerSettings(url="http://127.0.0.1:9", resolve_timeout=60.0)
    assert Alertmanager(settings, CLIENT).refresh_every == 20.0
    with pytest.raises(ValueError, match="resolve_timeout must be positive"):
        AlertmanagerSettings(url="http://127.0.0.1:9", resolve_timeout=0.0)
