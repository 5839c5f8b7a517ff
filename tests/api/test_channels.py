"""Channels are listed and tried, by the way that every message goes."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.delivery import Delivered, DeliveryFailed
from alerts.matching import parse_matcher
from alerts.message import Alert
from monitor.domain import Scope
from monitor.outbox.channels import ChannelFacts, ConfiguredChannel
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.outbox.trial import UNTAKEN
from monitor.store.database import Database
from monitor.store.incidents import receivers
from tests.serving import Serving, serving

MATCH = {"severity": "page", "labels": {"team": ["nlp", "search"]}}
FACTS = (
    ChannelFacts(name="good", kind="slack"),
    ChannelFacts(name="bad", kind="webhook", fallback="good", matcher=parse_matcher(MATCH)),
    ChannelFacts(name="idle", kind="log"),
)


class Told:
    def __init__(self, *failures: DeliveryFailed) -> None:
        self.failures = list(failures)
        self.alerts: list[Alert] = []

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        del message_id
        if self.failures:
            raise self.failures[0]
        self.alerts.append(alert)
        return Delivered(status=200)


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path, known_channels=FACTS) as running:
        yield running


def test_channels_are_listed_and_tried(service: Serving) -> None:
    good, bad = Told(), Told(DeliveryFailed("https://x.example/…: answered 503", status=503))
    deliverer = Deliverer(
        service.database,
        [
            ConfiguredChannel(name="good", channel=good),
            ConfiguredChannel(name="bad", channel=bad, fallback="good"),
        ],
        settings=DelivererSettings(poll=timedelta(milliseconds=20)),
    )
    deliverer.start()
    try:
        with service.client(Scope.READ) as client:
            assert client.post("/v1/channels/good/test").status_code == 403
            listed = {one["channel"]: one for one in client.get("/v1/channels").json()["items"]}
        with service.client(Scope.ADMIN) as client:
            taken = client.post("/v1/channels/good/test", params={"severity": "page"}).json()
            refused = client.post("/v1/channels/bad/test").json()
            untaken = client.post("/v1/channels/idle/test", params={"wait": 0.2}).json()
            unknown = client.post("/v1/channels/gone/test")
    finally:
        deliverer.stop()

    assert list(listed) == ["good", "bad", "idle"]
    assert listed["bad"] == {
        "channel": "bad",
        "kind": "webhook",
        "match": {"severity": ["page"], "labels": {"team": ["nlp", "search"]}},
        "fallback": "good",
        "unacknowledged_for_s": 0.0,
        "waiting": 0,
        "oldest_seconds": 0.0,
        "failing_seconds": 0.0,
        "degraded": False,
        "dead": 0,
    }
    assert (taken["taken"], taken["answer"]) == (True, "taken")
    start, end = good.alerts
    assert (start.test, start.severity, start.firing) == (True, "page", True)
    assert (end.test, end.id, end.firing) == (True, start.id, False)
    assert (refused["taken"], refused["answer"]) == (False, "https://x.example/…: answered 503")
    # it is not tried again, and no fallback is told of a test
    assert [sent["state"] for sent in refused["deliveries"]] == ["dead"]
    assert len(good.alerts) == 2
    assert (untaken["taken"], untaken["answer"]) == (False, UNTAKEN)
    assert unknown.json()["type"] == "urn:driftline:problem:unknown-channel"
    with service.database.begin() as tx:
        assert receivers.health(tx) == {}
