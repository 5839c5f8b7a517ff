"""Versions on trial in a running service: in shadow behind a real gateway, and unwatched.

In the second everything of Driftline is killed meanwhile, and the share ends by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from monitor.domain import SHADOWED, Arm, ArmKind, Route
from monitor.traffic.arms import effective
from tests.gateway.conftest import listening
from tests.gateway.crowd import Crowd
from tests.gateway.processes import Site
from tests.gateway.stub_engine import StubEngine
from tests.inbox import Inbox
from tests.service import PATIENCE, Service, Talk, running, until

BLIND_MAX = timedelta(seconds=12)
LEASE = 90.0
"""Seconds for which a process that was killed during a look still holds the canary."""
CHANGES = {
    "service.mode": "auto",
    "probes.embedding.model": "no-such-model",
    "detectors.feedback.higher_is_better": '["solved"]',
    "canary.critical": '["feedback.solved"]',
    "canary.interval": "1s",
    "canary.lag": "100ms",
    "canary.blind_max": f"{BLIND_MAX.seconds}s",
    "canary.shadow_lasts": "2s",
    "canary.extensions": "100",
    "canary.rollbacks": "10",
    "schedule.hard_interval": "10s",
    "schedule.live_interval": "10s",
}


def route_of(service: Service) -> Route:
    """The last good route, as whoever routes keeps it."""
    body = service.get("/v1/routes/support")
    return Route(
        adapter="support",
        generation=body["generation"],
        arms=tuple(
            Arm(arm=ArmKind(a["arm"]), version=a["version"], model=a["model"], weight=a["weight"])
            for a in body["arms"]
        ),
        reason=body["reason"],
        since=datetime.fromisoformat(body["since"]),
        valid_until=datetime.fromisoformat(body["valid_until"]) if body["valid_until"] else None,
    )


def shares(route: Route) -> dict[str, float]:
    return {arm.version: arm.weight for arm in route.arms}


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with Inbox() as taken:
        yield taken


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, inbox: Inbox) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("u"), inbox=inbox, changes=CHANGES) as started:
        yield started


@dataclass(frozen=True)
class JudgeOfAnswers:
    """Says of both answers to a prompt whether they are right, as soon as there are both."""

    service: Service
    right: Callable[[str, str], bool]
    """Of its record's id and its version."""

    def judge(self, canary: str) -> None:
        pairs = self.service.get(f"{canary}/pairs", without="solved", limit=1000)["items"]
        given = [
            {
                "adapter": "triage",
                "id": side["record"],
                "at": pair["at"],
                "name": "solved",
                "value": float(self.right(side["record"], side["version"])),
            }
            for pair in pairs
            for side in (pair["answered"], pair["copied"])
        ]
        if given:
            answer = self.service.call("POST", "/v1/feedback", json={"feedback": given})
            assert answer.status_code == 202, answer.text
            assert answer.json()["rejected"] == []


def ask(client: httpx2.Client, number: int) -> str:
    """Ask for ``triage``; give the version that has answered."""
    prompt = f"Which queue takes ticket {number}?"
    body = {"model": "triage", "messages": [{"role": "user", "content": prompt}]}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert "top_logprobs" not in reply.text
    return reply.headers["x-driftline-version"]


def crowd_of(crowd: Crowd, url: str, number: int) -> None:
    with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
        while not crowd.over.wait(0.02):
            number += 2
            crowd.count(partial(ask, client, number), who=str(number))


def test_a_shadow_is_judged_by_what_the_gateway_replays_and_no_client_notices(
    tmp_path: Path, service: Service
) -> None:
    names = ("v1", "good", "bad")
    engine = StubEngine(models={f"triage@{name}" for name in names})
    for name in names:
        service.register("triage", name, model=f"triage@{name}")
    # the bad one is wrong where the last digit of a record's id is even: in half of its answers
    judge = JudgeOfAnswers(
        service,
        lambda name, version: version != "bad" or int(name.removesuffix(SHADOWED)[-1], 16) % 2 == 1,
    )

    def shadowed(version: str, phase: str) -> dict[str, Any]:
        unchecked = ["weights", "served", "applied", "perplexity"]
        body = {"adapter": "triage", "version": version, "shadow": True, "unchecked": unchecked}
        begun = service.call("POST", "/v1/canaries", json=body)
        assert begun.status_code == 201, begun.text
        place = f"/v1/canaries/{begun.json()['canary']}"

        def ended() -> bool:
            judge.judge(place)
            found = service.get(place)
            assert found["phase"] in {
                "draft",
                "prechecks",
                "running",
                "promoting",
                "rolling_back",
                phase,
            }, found
            return bool(found["phase"] == phase)

        until(ended, f"{version} is {phase}", patience=120)
        found: dict[str, Any] = service.get(place)
        return found

    crowd = Crowd()
    with listening(engine.app()) as engine_url:
        site = Site(tmp_path, [engine_url], service=service.url, key=service.key)
        site.keep(service.get("/v1/routes/triage"))
        with site.gateway() as gateway:
            clients = (partial(crowd_of, crowd, gateway.url, number) for number in (0, 1))
            with crowd.asking(*clients):
                until(lambda: crowd.answered["v1"] > 10, "answers")
                bad = shadowed("bad", "rolled_back")
                good = shadowed("good", "succeeded")
                until(lambda: crowd.answered["good"] > 10, "the good one answers people")
    assert crowd.failures == []
    assert set(crowd.answered) == {"v1", "good"}  # the bad one answered nobody but the judge
    assert {one.body["model"] for one in engine.of("/v1/chat/completions")} == engine.models
    assert bad["latched"]
    assert "solved (feedback) worse by" in bad["reason"]
    assert {look["weight"] for look in bad["looks"]} == {0.0}
    last = [look for look in good["looks"] if look["guards"]][-1]
    assert last["trial_requests"] == last["control_requests"] >= 200
    compared = {guard["name"]: guard["outcome"] for guard in last["guards"]}
    assert (compared["feedback.solved"], compared["mean_nll"]) == ("passed", "passed")
    assert "latency_ms" not in compared
    assert [
        (arm["version"], arm["weight"]) for arm in service.get("/v1/routes/triage")["arms"]
    ] == [("good", 1.0)]


def test_a_canary_that_nobody_watches_goes_to_weight_0_and_stays_there(
    service: Service, inbox: Inbox
) -> None:
    for version in ("v7", "v8"):
        service.register("support", version)
    body = {"adapter": "support", "version": "v8", "unchecked": ["served"]}
    made = service.call("POST", "/v1/canaries", json=body).json()
    until(lambda: shares(route_of(service)).get("v8"), "the first step")
    first = route_of(service)
    assert first.valid_until is not None
    # looked at each second: its end is put off for as long as somebody sees it
    until(lambda: route_of(service).generation > first.generation, "a renewal")
    service.kill_postgres()
    service.kill()
    kept = first  # a router that missed the renewal is the worst case
    assert kept.valid_until is not None
    assert kept.valid_until - kept.since == BLIND_MAX
    assert shares(effective(kept, kept.valid_until)) == {"v7": 1.0, "v8": 0.0}
    end = kept.valid_until + timedelta(seconds=4)
    until(lambda: datetime.now(tz=UTC) > end, "its end")
    service.start()
    place = f"/v1/canaries/{made['canary']}"
    until(
        lambda: service.get(place)["phase"] == "rolled_back",
        "its rollback",
        patience=LEASE + PATIENCE,
    )
    assert shares(route_of(service)) == {"v7": 1.0}
    found = service.get(place)
    assert "the route expired" in found["reason"]
    assert max(look["weight"] for look in found["looks"]) == 0.05

    def told() -> list[tuple[str, ...]]:
        return [said for said in (message.said for message in inbox.messages) if "support" in said]

    until(told, "somebody is told")
    assert told() == [("support", "started", "ticket")]
    # a person lets it try again, and this time it is seen to be worse
    assert service.call("POST", f"{place}/resume", json={}).is_success
    until(lambda: shares(route_of(service)).get("v8"), "the first step again")
    stable, trial = Talk("support", seed=1), Talk("support", seed=2, sent=100_000)

    def seen() -> bool:
        service.send(stable.records(60, version="v7", arm="stable"))
        service.send(trial.records(60, version="v8", arm="canary", shift=4.0))
        return bool(service.get(place)["phase"] == "rolled_back")

    until(seen, "its rollback by what it answers")
    assert "answers less certain in" in service.get(place)["reason"]
    assert shares(route_of(service)) == {"v7": 1.0}
