"""From live records to a page, to other weights answering, and back: the whole loop.

One service for all tests: it may act, its engine serves every version but scores nothing,
and its embedding model is missing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.inbox import Inbox, Message
from tests.probes.fake_engine import FakeEngine, serving
from tests.service import Service, Talk, baseline, running, until

LONG = 400.0
"""Seconds of patience with what takes many evaluations."""
ADAPTERS = ("support", "billing", "travel")
MODELS: list[dict[str, str | None]] = [{"id": "base", "parent": None}]
MODELS += [{"id": f"{name}@{v}", "parent": "base"} for name in ADAPTERS for v in ("v6", "v7")]


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, inbox: Inbox) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with serving(FakeEngine(models=MODELS, knows=frozenset())) as engine:
        changes = {
            "service.mode": "auto",
            # a machine that takes longer than an interval for a turn skips windows
            "schedule.hard_interval": "3s",
            "schedule.live_interval": "3s",
            "routing.evidence_age": "60s",
            "serving.engines": f'["{engine}"]',
            "serving.register": "false",  # each has a base of its own, which its engine denies
            "probes.embedding.model": str(folder / "no-such-model"),
            "policy.recovery_window": "6s",
            "policy.recovery_records": "400",
            "margins.rank": "0.3",
            "routing.fleet_budget": "10",
        }
        with running(folder, inbox=inbox, changes=changes) as started:
            yield started


@dataclass
class Adapter:
    """An adapter whose traffic ``v7`` answers, and ``v6`` did before."""

    service: Service
    inbox: Inbox
    talk: Talk

    @property
    def name(self) -> str:
        return self.talk.adapter

    def told(self, **wanted: str) -> list[Message]:
        return [
            message
            for message in self.inbox.messages
            if message.alert["adapter"] == self.name
            and all(message.alert[key] == value for key, value in wanted.items())
        ]

    def talk_until(self, verdict: str, *, shift: float, **more: Any) -> int:
        """Send live records until the verdict is this one; give their number."""
        before = self.talk.sent

        def judged() -> bool:
            self.service.send(self.talk.records(30, shift=shift, version="v7", **more))
            time.sleep(0.15)
            return self.service.verdict(self.name) == verdict

        until(judged, f"{verdict} at a shift of {shift} sd", patience=LONG)
        return self.talk.sent - before


@pytest.fixture
def watched(service: Service, inbox: Inbox) -> Callable[[str], Adapter]:
    def register(name: str) -> Adapter:
        # bases of their own: one after another they break, and that is no common cause here
        service.register(name, "v6", base_model=f"base of {name}")
        service.register(name, "v7", parent="v6", base_model=f"base of {name}")
        arms = [{"arm": "stable", "version": "v7", "weight": 1.0}]
        route = {"arms": arms, "reason": "release"}
        service.put(f"/v1/routes/{name}", route, **{"If-Match": '"1"'})
        service.upload(name, "v7", baseline(1_200))
        return Adapter(service=service, inbox=inbox, talk=Talk(name))

    return register


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
                params={"wait": 2},
                headers={"if-none-match": etag},
            )
            if answer.status_code == 200:
                self.seen.append((datetime.now(UTC), answer.json()))
                etag = answer.headers["etag"]

    def share(self, version: str) -> float:
        """The part of the traffic that a version answers by the newest route."""
        arms = self.seen[-1][1]["arms"]
        return float(sum(arm["weight"] for arm in arms if arm["version"] == version))

    def in_charge(self) -> str:
        return str(next(arm["version"] for arm in self.seen[-1][1]["arms"] if arm["weight"] > 0))


@contextmanager
def following(service: Service, adapter: str) -> Iterator[Client]:
    client = Client(service=service, adapter=adapter)
    thread = threading.Thread(target=client.follow)
    thread.start()
    try:
        until(lambda: client.seen, "the first route")
        yield client
    finally:
        client.done.set()
        thread.join()


def test_answers_that_change_are_paged_and_routed_round_until_they_are_right_again(
    service: Service, watched: Callable[[str], Adapter]
) -> None:
    support = watched("support")
    with following(service, "support") as client:
        support.talk_until("stable", shift=0.0)
        assert support.told() == []
        assert client.in_charge() == "v7"

        needed = support.talk_until("critical", shift=2.0)
        page = until(lambda: support.told(severity="page"), "a page")[0]
        assert (page.alert["version"], page.alert["verdict"]) == ("v7", "critical")
        assert page.alert["scores"], "a page carries numbers"

        until(lambda: client.in_charge() == "v6", "the route to the version before")
        heard, route = client.seen[-1]
        late = (heard - datetime.fromisoformat(route["since"])).total_seconds()
        print(f"critical after {needed} requests, followed {late:.3f} s later")

        support.talk_until("stable", shift=0.0)
        recovered = until(lambda: support.told(status="recovered"), "a recovery")
        assert recovered[0].alert["id"] == page.alert["id"]
        until(lambda: client.share("v7") > 0, "a trial")
        assert (client.share("v7"), client.share("v6")) == (0.5, 0.5)
        stands = service.get("/v1/adapters/support/breaker")
        assert (stands["state"], stands["fallbacks"]) == ("half_open", 1)

        def returned() -> bool:
            support.service.send(support.talk.records(10, shift=0.0, version="v7"))
            time.sleep(0.15)
            return client.share("v7") == 1

        until(returned, "the route back", patience=LONG)
    actions = service.get("/v1/actions", adapter="support")["items"]
    assert [(a["kind"], a["state"]) for a in actions] == [
        ("return", "verified"),
        ("trial", "verified"),
        ("fallback", "verified"),
    ]


def test_messages_wait_for_a_receiver_that_is_down_and_arrive_in_their_order(
    service: Service, watched: Callable[[str], Adapter], inbox: Inbox
) -> None:
    billing = watched("billing")
    inbox.down()
    # prompts that cannot be embedded cost the other detectors nothing
    billing.talk_until("critical", shift=2.0, prompt="where is my invoice")
    queued = until(
        lambda: [
            d
            for d in service.get("/v1/deliveries", state="queued")["items"]
            if d["attempts"] > 0 and "billing" in d["summary"]
        ],
        "a failed attempt",
    )
    assert queued[0]["last_error"]
    assert billing.told() == []
    inbox.up()
    told = until(lambda: billing.told(severity="page") and billing.told(), "the messages")
    # which sign is the strongest may change meanwhile, and is told, too
    news = [m.alert["status"] for m in told if m.alert["status"] != "updated"]
    assert news in (["started", "worsened"], ["started"])
    assert len({m.id for m in told}) == len(told)

    evaluated = service.evaluate("billing")
    assert {"logit_ks", "entropy"} & {score["detector"] for score in evaluated["scores"]}
    missing = until(lambda: service.events("embedding_unavailable"), "why nothing is embedded")
    assert "no-such-model" in missing[0]["error"]


def test_with_the_kill_switch_file_in_place_nothing_is_done(
    service: Service, watched: Callable[[str], Adapter]
) -> None:
    travel = watched("travel")
    switch = service.data_dir / "kill-switch"
    switch.touch()
    try:
        travel.talk_until("critical", shift=2.0)
        until(lambda: travel.told(severity="page"), "a page")
        path = "/v1/actions"
        blocked = until(
            lambda: [
                action
                for action in service.get(path, adapter="travel")["items"]
                if str(switch) in action["reason"]
            ],
            "an action that the switch blocked",
        )
        assert blocked[0]["state"] == "blocked"
        states = {action["state"] for action in service.get(path, adapter="travel")["items"]}
        assert states == {"blocked"}
        assert service.get("/v1/routes/travel")["generation"] == 2
    finally:
        switch.unlink()


def test_a_missing_model_is_said_once_and_stops_nothing(service: Service) -> None:
    def said() -> list[str]:
        lines = service.log.read_text().splitlines()
        return [line for line in lines if "no-such-model" in line and '"texts_wait"' in line]

    until(said, "the log says that texts wait for the model")
    time.sleep(1.0)  # ten turns of the loop
    assert len(said()) == 1
    assert '"loop_failed"' not in service.log.read_text()
