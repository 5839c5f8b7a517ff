"""Canaries by HTTP: begun, shown, paused, resumed, promoted and aborted."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.api import paging
from monitor.domain import Scope
from monitor.store.registry import versions
from monitor.store.tables.records import record_texts
from monitor.store.traffic import actions, canaries, routes
from monitor.store.traffic.actions import ActionKind, ActionState
from monitor.traffic import table
from monitor.traffic.readback import Confirming
from monitor.traffic.routers.none import TableOnly
from monitor.traffic.trial.changes import TrialChanges
from monitor.traffic.trial.judge import Judge
from monitor.traffic.trial.scene import hold_scene
from tests.fleet import register
from tests.serving import Serving

PATH = "/v1/canaries"
BODY = {"adapter": "support", "version": "v8"}


@pytest.fixture
def judge(service: Serving) -> Judge:
    """Two registered versions, v7 in charge; what is begun is looked at when a test says so."""
    with service.database.begin() as tx:
        stable = register(tx, "support", "v7")
        register(tx, "support", "v8")
        table.start(tx, stable, actor="ann", now=datetime.now(tz=UTC))
    parts = service.app.state.parts

    def tell(*_: object, **__: Any) -> None:
        """Nobody is told here."""

    return Judge(hands=replace(parts.orders.hands, tell=tell), owner="test")


def settle(judge: Judge) -> None:
    """Do whatever is due by now: pre-checks, looks, and what the table of routes says."""
    router = TableOnly(judge.hands.database)
    reading = Confirming(
        database=judge.hands.database,
        router=router,
        log=TrialChanges(hands=judge.hands),
        monotonic=itertools.count(0.0, 60.0).__next__,
    )
    while any([judge.check(), judge.turn(), reading.turn()]):
        pass


def test_a_canary_from_its_begin_to_its_promotion(service: Serving, judge: Judge) -> None:
    with service.client(Scope.OPERATE) as client, service.client(Scope.READ) as reader:
        made = client.post(PATH, json=BODY).json()
        place = f"{PATH}/{made['canary']}"
        assert (made["phase"], made["weight"], made["control"]) == ("draft", 0.0, "v7")
        assert [step["weight"] for step in made["steps"]] == [0.05, 0.25, 0.5]
        assert made["guards"][0] == "feedback.solved"
        assert made["prospect"]["promotable"] is False
        assert made["prospect"]["warning"].startswith("no request was counted")
        ways = reader.get("/v1/adapters/support/canary-plan", params={"requests_per_day": 500})
        by_kind = {way["way"]: way for way in ways.json()["ways"]}
        [first, *_] = by_kind["steps"]["prospect"]["steps"]
        reached, asked = (datetime.fromisoformat(first[at]) for at in ("requests_at", "asked_at"))
        assert reached - asked == timedelta(days=4)  # 200 at 25 a day, where it has 4 days
        assert (first["decided"], by_kind["one"]["steps"][0]["weight"]) == (False, 0.1)
        assert by_kind["shadow"]["prospect"]["known"] is False  # nothing was recorded
        settle(judge)
        with service.database.begin() as tx:
            register(tx, "support", "v9")
        shown = reader.get(place).json()
        assert shown["registered_since"] == ["v9"]
        assert (shown["phase"], shown["weight"]) == ("running", 0.05)
        assert [look["event"] for look in shown["looks"]][:1] == ["checked"]
        paused = client.post(f"{place}/pause", json={"reason": "sale today"}).json()
        assert (paused["phase"], paused["pause"]) == ("paused", "manual")
        assert "sale today" in paused["reason"]
        assert client.post(f"{place}/resume", json={}).json()["phase"] == "running"
        unproven = client.post(f"{place}/promote", json={})
        assert (unproven.status_code, unproven.json()["type"].split(":")[-1]) == (
            409,
            "not-possible",
        )
        assert client.post(f"{place}/promote", json={"force": True}).json()["phase"] == "promoting"
        settle(judge)
        assert reader.get(place).json()["phase"] == "succeeded"
        assert reader.get(place).json()["prospect"] is None
        assert reader.get(PATH, params={"active": True}).json()["items"] == []
        assert [one["canary"] for one in reader.get(PATH).json()["items"]] == [made["canary"]]
    with service.database.begin() as tx:
        route = routes.get(tx, "support")
    assert route is not None
    assert [(arm.version, arm.weight) for arm in route.arms] == [("v8", 1.0)]


def test_one_that_was_aborted_comes_back_only_when_a_person_says_so(
    service: Serving, judge: Judge
) -> None:
    with service.client(Scope.OPERATE) as client:
        made = client.post(PATH, json=BODY | {"steps": [{"weight": 0.2, "hours": 1}]}).json()
        place = f"{PATH}/{made['canary']}"
        settle(judge)
        assert client.post(f"{place}/abort", json={}).json()["phase"] == "rolling_back"
        settle(judge)
        again = client.post(PATH, json=BODY)
        assert again.status_code == 409
        assert "resume that one" in again.json()["detail"]
        resumed = client.post(f"{place}/resume", json={"reason": "the data was wrong"}).json()
        assert (resumed["phase"], resumed["latched"]) == ("draft", False)
    _all_of_it_is_in_one_list(service, made["canary"])


def test_a_promotion_that_the_router_was_not_seen_to_do_is_taken_back(
    service: Serving, judge: Judge
) -> None:
    with service.client(Scope.OPERATE) as client, service.client(Scope.READ) as reader:
        made = client.post(PATH, json=BODY).json()
        place = f"{PATH}/{made['canary']}"
        settle(judge)
        assert client.post(f"{place}/promote", json={"force": True}).json()["phase"] == "promoting"
        aborted = client.post(f"{place}/abort", json={"reason": "no router"}).json()
        assert (aborted["phase"], aborted["latched"]) == ("rolling_back", True)
        settle(judge)
        assert reader.get(place).json()["phase"] == "rolled_back"
        over = client.post(f"{place}/abort", json={})
        assert over.status_code == 409
    with service.database.begin() as tx:
        route = routes.get(tx, "support")
    assert route is not None
    assert [(arm.version, arm.weight) for arm in route.arms] == [("v7", 1.0)]


def _all_of_it_is_in_one_list(service: Serving, canary: int) -> None:
    """What became of the canary and an action beside it, newest first, page by page."""
    with service.database.begin() as tx:
        version = versions.fetch(tx, adapter="support", name="v7")
        assert version is not None
        blocked = actions.add(
            tx,
            version,
            kind=ActionKind.FALLBACK,
            state=ActionState.BLOCKED,
            reason="over budget",
            evidence={},
            expected_generation=1,
            target=None,
            actor=actions.AUTOMATIC,
            now=datetime.now(tz=UTC),
        )
    with service.client(Scope.READ) as reader:

        def listed(**wanted: Any) -> list[dict[str, Any]]:
            return reader.get("/v1/actions", params={"adapter": "support"} | wanted).json()["items"]

        found = listed()
        assert [(one["kind"], one["state"]) for one in found] == [
            ("fallback", "blocked"),
            ("canary", "draft"),
            ("canary", "rolled_back"),
            ("canary", "rolling_back"),
            ("canary", "running"),
            ("canary", "draft"),
        ]
        assert {one["canary"] for one in found} == {None, canary}
        assert found[0]["action"] == blocked.id
        by = ["for operate", "driftline", "for operate", "driftline", "for operate"]
        assert [one["actor"] for one in found[1:]] == by
        assert [one["evidence"]["weight"] for one in found[1:]] == [0.0, 0.0, 0.0, 0.2, 0.0]
        assert "the data was wrong" in found[1]["reason"]
        assert listed(state="rolled_back") == [found[2]]
        assert listed(state="draft") == [found[1], found[5]]
        assert listed(state="blocked") == [found[0]]
        assert listed(since=(datetime.now(tz=UTC) + timedelta(hours=1)).isoformat()) == []
        paged, page = [], {"limit": 2}
        for _ in range(3):
            got = reader.get("/v1/actions", params=page).json()
            paged += got["items"]
            page["cursor"] = got["next"]
        assert (paged, got["next"]) == (found, None)
        for wrong in ("W10", paging.encode(-1, 0), paging.encode(1, 2**63)):
            assert reader.get("/v1/actions", params={"cursor": wrong}).status_code == 422


@pytest.mark.usefixtures("judge")
def test_steps_of_ones_own_take_the_requests_of_the_config(service: Serving) -> None:
    parts = service.app.state.parts
    hands = parts.orders.hands
    hands = replace(hands, settings=replace(hands.settings, requests=700))
    service.app.state.parts = replace(parts, orders=replace(parts.orders, hands=hands))
    steps = [{"weight": 0.1, "hours": 1}, {"weight": 0.5, "hours": 1, "requests": 300}]
    with service.client(Scope.OPERATE) as client:
        made = client.post(PATH, json=BODY | {"steps": steps}).json()
    assert [step["requests"] for step in made["steps"]] == [700, 300]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"adapter": "nobody", "version": "v8"}, 404, "nobody"),
        (BODY | {"version": "v9"}, 404, "v9"),
        (BODY | {"version": "v7"}, 409, "v7 is in charge already"),
        (
            BODY | {"steps": [{"weight": 0.5, "hours": 1}, {"weight": 0.2, "hours": 1}]},
            422,
            "larger",
        ),
        (BODY | {"steps": [{"weight": 0.5, "hours": 1, "requests": 10}]}, 422, "at least 200"),
        (BODY | {"steps": [{"weight": 1.5, "hours": 1}]}, 422, "less than 1"),
        (BODY | {"unchecked": ["everything"]}, 422, "weights"),
        (BODY | {"wight": 1}, 422, "not permitted"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("judge")
def test_what_cannot_begin_is_refused_with_its_reason(
    service: Serving, body: dict[str, object], status: int, said: str
) -> None:
    with service.client(Scope.OPERATE) as client:
        answer = client.post(PATH, json=body)
        assert client.post(f"{PATH}/4711/pause", json={}).status_code == 404
    assert answer.status_code == status, answer.text
    assert said in answer.text


def test_an_order_makes_void_what_a_look_under_way_has_found(
    service: Serving, judge: Judge
) -> None:
    with service.client(Scope.OPERATE) as client:
        made = client.post(PATH, json=BODY).json()
        settle(judge)
        with service.database.begin() as tx:
            looked_at = canaries.fetch(tx, made["canary"])
        client.post(f"{PATH}/{made['canary']}/pause", json={})
    with service.database.begin() as tx:
        switch = judge.hands.kill_switch
        assert hold_scene(tx, looked_at, switch, claimed=True, now=datetime.now(UTC)) is None


def test_a_judge_reads_what_a_shadow_answered_and_sends_what_it_thinks(
    service: Serving, judge: Judge
) -> None:
    with service.client(Scope.OPERATE) as client:
        made = client.post(PATH, json=BODY | {"shadow": True}).json()
    settle(judge)
    place = f"{PATH}/{made['canary']}/pairs"
    begun = datetime.now(tz=UTC)
    names = ["b", "a", "c", "d"]
    times = [begun + timedelta(seconds=number) for number in range(len(names))]
    sent = [_answered(name, at) for name, at in zip(names, times, strict=True)]
    # copies come later than what they are copies of, and that of the last one has not yet
    sent += [
        _answered(f"{name}:shadow", at + timedelta(seconds=0.5), version="v8", arm="shadow")
        for name, at in zip(names[:3], times[:3], strict=True)
    ]
    with service.client(Scope.INGEST) as client:
        assert client.post("/v1/records", json={"records": sent}).json()["accepted"] == len(sent)
    _keep_text(service, "a", times[1], prompt="Where is my order?", output="On its way.")
    _keep_text(service, "a:shadow", times[1] + timedelta(seconds=0.5), output="Which order?")
    with service.client(Scope.READ) as client:
        found = client.get(place).json()
        assert [one["answered"]["record"] for one in found["items"]] == ["b", "a", "c"]
        assert found["next"] is None
        second = found["items"][1]
        assert datetime.fromisoformat(second.pop("at")) == times[1]
        assert second == {
            "prompt": "Where is my order?",
            "answered": {"record": "a", "version": "v7", "answer": "On its way."},
            "copied": {"record": "a:shadow", "version": "v8", "answer": "Which order?"},
        }
        assert found["items"][0]["prompt"] is None
        cursor: str | None = None
        listed: list[str] = []
        while cursor is not None or not listed:
            query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
            page = client.get(place, params=query).json()
            listed += [one["copied"]["record"] for one in page["items"]]
            cursor = page["next"]
        assert listed == ["b:shadow", "a:shadow", "c:shadow"]
        for wrong in (
            "x",
            paging.encode(1),
            paging.encode("soon", "a"),
            paging.encode(begun.isoformat(), "\0"),
        ):
            assert client.get(place, params={"cursor": wrong}).status_code == 422
        assert client.get(f"{PATH}/4711/pairs").status_code == 404
    opinions = [("b", 0), ("b:shadow", 0), ("a", 1)]
    feedback = [
        {"adapter": "support", "id": name, "at": times[number].isoformat(), "name": "solved"}
        | {"value": 1.0}
        for (name, number) in opinions
    ]
    with service.client(Scope.INGEST) as client:
        told = client.post("/v1/feedback", json={"feedback": feedback}).json()
        assert told["rejected"] == []
        assert client.get(place).status_code == 403
    with service.client(Scope.READ) as client:
        left = client.get(place, params={"without": "solved"}).json()["items"]
        other = client.get(place, params={"without": "polite"}).json()["items"]
    assert [one["answered"]["record"] for one in left] == ["a", "c"]  # of both sides, or not
    assert len(other) == len(names) - 1


def _answered(
    name: str, at: datetime, *, version: str = "v7", arm: str = "stable"
) -> dict[str, object]:
    record: dict[str, object] = {"id": name, "adapter": "support", "version": version, "arm": arm}
    return record | {"at": at.isoformat(), "output": "It arrives today."}


def _keep_text(service: Serving, name: str, at: datetime, **texts: str) -> None:
    with service.database.begin() as tx:
        version = versions.fetch(tx, adapter="support", name="v7")
        assert version is not None
        key = {"adapter_id": version.adapter_id, "id": name, "at": at}
        tx.execute(record_texts.insert(), [key | texts])
