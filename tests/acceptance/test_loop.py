"""From live records to a page, to other weights answering, and back: the whole loop."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.inbox import Inbox
from tests.probes.fake_engine import FakeEngine, serving
from tests.service import Service, Talk, baseline, running, until

MODELS = [
    {"id": "base", "parent": None},
    {"id": "support@v6", "parent": "base"},
    {"id": "support@v7", "parent": "base"},
]


@dataclass
class Client:
    """A router that long-polls; keeps each route it saw and when it saw it."""

    service: Service
    adapter: str
    seen: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        etag = '"0"'
        while not self.done.is_set():
            answer = self.service.call(
                "GET",
                f"/v1/routes/{self.adapter}",
                params={"wait": 5},
                headers={"if-none-match": etag},
            )
            if answer.status_code == 200:
                self.seen.append((datetime.now(UTC), answer.json()))
                etag = answer.headers["etag"]

    def in_charge(self) -> str:
        return str(next(arm["version"] for arm in self.seen[-1][1]["arms"] if arm["weight"] > 0))


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


@pytest.fixture
def service(tmp_path: Path, inbox: Inbox) -> Iterator[Service]:
    """A service that may act, with an engine that serves both versions and scores nothing."""
    with serving(FakeEngine(models=MODELS, knows=frozenset())) as engine:
        changes = {
            "service.mode": "auto",
            "serving.engines": f'["{engine}"]',
            "policy.recovery_window": "10s",
            "margins.rank": "0.3",
        }
        with running(tmp_path, inbox=inbox, changes=changes) as started:
            started.register("support", "v6")
            started.register("support", "v7", parent="v6")
            arms = [{"arm": "stable", "version": "v7", "weight": 1.0}]
            started.put(
                "/v1/routes/support", {"arms": arms, "reason": "release"}, **{"If-Match": '"1"'}
            )
            started.upload("support", "v7", baseline(1_200))
            yield started


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    client = Client(service=service, adapter="support")
    thread = threading.Thread(target=client.follow)
    thread.start()
    until(lambda: client.seen, "the first route")
    yield client
    client.done.set()
    thread.join()


def send_until_verdict(service: Service, talk: Talk, verdict: str, *, shift: float) -> int:
    """Send live records until the verdict is this one; give their number."""
    before = talk.sent

    def judged() -> bool:
        service.send(talk.records(10, shift=shift, version="v7"))
        time.sleep(0.15)
        return service.verdict("support") == verdict

    until(judged, f"{verdict} at a shift of {shift} sd")
    return talk.sent - before


def test_answers_that_change_are_paged_and_routed_round_until_they_are_right_again(
    service: Service, inbox: Inbox, client: Client
) -> None:
    talk = Talk("support")
    send_until_verdict(service, talk, "stable", shift=0.0)
    assert inbox.messages == []
    assert client.in_charge() == "v7"

    needed = send_until_verdict(service, talk, "critical", shift=2.0)
    page = until(lambda: [m for m in inbox.messages if m.alert["severity"] == "page"], "a page")[0]
    assert page.alert["adapter"] == "support"
    assert page.alert["version"] == "v7"
    assert page.alert["verdict"] == "critical"
    assert page.alert["scores"], "a page carries numbers"

    until(lambda: client.in_charge() == "v6", "the route to the version before")
    heard, route = client.seen[-1]
    late = (heard - datetime.fromisoformat(route["since"])).total_seconds()
    print(f"critical after {needed} requests; the client followed {late:.3f} s later")  # noqa: T201
    assert late <= 1.0

    send_until_verdict(service, talk, "stable", shift=0.0)
    recovered = until(
        lambda: [m for m in inbox.messages if m.alert["status"] == "recovered"], "a recovery"
    )[0]
    assert recovered.alert["id"] == page.alert["id"]
    until(lambda: client.in_charge() == "v7", "the route back")
    states = [action["state"] for action in service.get("/v1/actions")["items"]]
    assert states == ["verified", "verified"]
