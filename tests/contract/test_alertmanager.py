"""A real Alertmanager, from the system's packages: what it makes of what it is told.

The same alert goes by the ``alertmanager`` channel through it to a webhook, and by our own
``webhook`` channel with its body. Wanted differences: ``receiver``, ``groupKey``,
``groupLabels``, ``fingerprint`` and ``externalURL`` are Alertmanager's own, it writes times
its own way, knows the ids of our messages, and cannot have an alert without an end in its API.
"""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.channels import open_channel
from alerts.channels.alertmanager import Alertmanager
from alerts.delivery import DeliveryFailed
from alerts.formats import alertmanager_body
from alerts.message import Alert
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.types import Status
from tests.alert_samples import an_alert
from tests.loopback import LOOPBACK, Receiver
from tests.real_alertmanager import alertmanager, needs_alertmanager

pytestmark = needs_alertmanager
CLIENT = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
RESOLVE_TIMEOUT = 2.0
PATIENCE = 15.0
CONFIG = """
global: {resolve_timeout: 2s}
route:
  receiver: hook
  group_by: [alertname, adapter]
  group_wait: 0s
  group_interval: 100ms
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs: [{url: "%s", send_resolved: true}]
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    url: str
    hook: Receiver

    @property
    def channel(self) -> Alertmanager:
        options = {"url": self.url, "resolve_timeout": RESOLVE_TIMEOUT}
        opened = open_channel("alertmanager", options, client=CLIENT)
        assert isinstance(opened, Alertmanager)
        return opened

    def told(self, adapter: str) -> list[dict[str, Any]]:
        """What the webhook was sent about an adapter."""
        bodies = [json.loads(seen.body) for seen in self.hook.seen]
        return [one for one in bodies if one["groupLabels"]["adapter"] == adapter]

    def until_told(self, adapter: str, *statuses: str) -> list[dict[str, Any]]:
        end = time.monotonic() + PATIENCE
        while True:
            told = self.told(adapter)
            if [one["status"] for one in told] == list(statuses):
                return told
            assert time.monotonic() < end, [one["status"] for one in told]
            threading.Event().wait(0.05)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager"), CONFIG) as (url, hook):
        yield Running(url=url, hook=hook)


def alert_of(adapter: str, **changes: Any) -> Alert:
    now = datetime.now(tz=UTC)
    return an_alert(
        id=f"driftline:{adapter}@v7:drift:3",
        adapter=adapter,
        **{"started_at": now - timedelta(minutes=1), "at": now, **changes},
    )


def test_it_tells_what_our_webhook_tells(running: Running) -> None:
    alert = alert_of("same")
    running.channel.deliver(alert, "msg_1")
    [theirs] = running.until_told("same", "firing")
    ours = json.loads(alertmanager_body(alert))
    for name in ("version", "status", "truncatedAlerts", "commonLabels"):
        assert theirs[name] == ours[name]
    [one], [another] = theirs["alerts"], ours["alerts"]
    assert set(one) == set(another)
    for name in ("status", "labels", "generatorURL", "endsAt"):
        assert one[name] == another[name]
    more = {"incident": alert.id, "message_id": "msg_1"}
    assert one["annotations"] == another["annotations"] | more
    assert datetime.fromisoformat(one["startsAt"]) == alert.started_at


def test_an_alert_is_over_when_it_recovers(running: Running) -> None:
    firing = alert_of("ends")
    running.channel.deliver(firing, "msg_1")
    running.until_told("ends", "firing")
    over = alert_of("ends", status=Status.RECOVERED, started_at=firing.started_at)
    running.channel.deliver(over, "msg_2")
    _, last = running.until_told("ends", "firing", "resolved")
    assert datetime.fromisoformat(last["alerts"][0]["endsAt"]) == over.at


def test_an_alert_lives_while_it_is_told_again_and_not_longer(running: Running) -> None:
    channel, alert = running.channel, alert_of("lives")
    channel.deliver(alert, "msg_1")
    begun = time.monotonic()
    while time.monotonic() - begun < 2 * RESOLVE_TIMEOUT:
        threading.Event().wait(channel.refresh_every)
        channel.refresh([(alert, "msg_1")])
    assert [one["status"] for one in running.told("lives")] == ["firing"]
    running.until_told("lives", "firing", "resolved")


def test_odd_labels_are_taken(running: Running) -> None:
    running.channel.deliver(
        alert_of("odd", labels={"team.name": "a\nb", "1st": "x", "empty": "", "größe": "😀"}), "m"
    )
    [told] = running.until_told("odd", "firing")
    assert told["commonLabels"]["team_name"] == "a\nb"


def test_what_it_refuses_is_a_dead_letter(running: Running) -> None:
    backwards = alert_of(
        "refused", status=Status.RECOVERED, recovered_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    with pytest.raises(DeliveryFailed) as caught:
        running.channel.deliver(backwards, "msg_1")
    assert (caught.value.status, caught.value.permanent) == (400, True)
