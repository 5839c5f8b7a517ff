"""Adapters and versions through the API."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from monitor.domain import Scope
from tests import worlds
from tests.serving import Serving


def test_a_version_registers_its_adapter_and_starts_its_route(service: Serving) -> None:
    with service.client(Scope.ADMIN) as client:
        made = client.put(
            "/v1/adapters/support/versions/v1",
            json={"base_model": "llama", "hyper_parameters": {"r": 8}, "precision": "bf16"},
        )
        assert made.status_code == 200, made.text
        assert made.json()["model"] == "support@v1"
        assert made.json()["metadata"] == {"hyper_parameters": {"r": 8}, "precision": "bf16"}
        assert client.get("/v1/adapters/support/versions/v1").json() == made.json()
        found = client.get("/v1/adapters/support").json()
    assert found["route"]["generation"] == 1
    assert [arm["version"] for arm in found["route"]["arms"]] == ["v1"]
    assert (found["verdict"], found["severity"]) == ("learning", "none")
    assert found["reference"]["state"] is None
    assert (found["scores"], found["probe"]) == ([], None)


def test_a_registered_version_is_immutable(service: Serving) -> None:
    path = "/v1/adapters/support/versions/v1"
    with service.client(Scope.ADMIN) as client:
        client.put(path, json={"model": "a"})
        client.put(path, json={"model": "a", "sha256": "0" * 64})
        other = client.put(path, json={"model": "b"})
        assert client.get(path).json()["sha256"] == "0" * 64
    assert other.status_code == 409
    assert other.json()["type"] == "urn:driftline:problem:version-differs"


def test_what_is_said_of_an_adapter_is_replaced(service: Serving) -> None:
    with service.client(Scope.ADMIN) as client:
        client.put("/v1/adapters/support", json={"owner": "ann", "labels": {"team": "care"}})
        client.put("/v1/adapters/support", json={"owner": "bob", "mode": "approve"})
        found = client.get("/v1/adapters/support").json()
    assert (found["owner"], found["labels"], found["mode"]) == ("bob", {}, "approve")
    assert found["reason"] == "no version is registered"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"owner": "ann\x1b[2J"}, "#/owner"),
        ({"tier": "gold\n"}, "#/tier"),
        ({"labels": {"team": "care\u202e"}}, "#/labels/team"),
        ({"labels": {"te\x07am": "care"}}, "#/labels"),
        ({"runbook": "https://wiki.test/\r\nx"}, "#/runbook"),
    ],
)
def test_what_is_said_of_an_adapter_can_be_printed(
    service: Serving, body: dict[str, Any], pointer: str
) -> None:
    with service.client(Scope.OPERATE) as client:
        answer = client.put("/v1/adapters/support", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"].startswith(pointer)
    assert error["detail"] == "has characters that cannot be printed"


@pytest.mark.parametrize(
    "name", ["acme/support", "50%", "a%2Fb", "ünï cödé", "a?b#c", "..", "'\"<>"]
)
def test_any_name_can_be_addressed(service: Serving, name: str) -> None:
    path = f"/v1/adapters/{quote(name, safe='')}"
    if name == "..":
        path = "/v1/adapters/%2E%2E"  # clients resolve bare dots themselves
    with service.client(Scope.ADMIN) as client:
        made = client.put(f"{path}/versions/v1", json={})
        assert made.status_code == 200, made.text
        assert client.get(path).json()["adapter"] == name
        assert client.get(f"/v1/routes/{path.rsplit('/', 1)[1]}").json()["adapter"] == name


def test_unknown_names_are_404s_that_say_which(service: Serving) -> None:
    with service.client(Scope.ADMIN) as client:
        assert "'nobody'" in client.get("/v1/adapters/nobody").json()["detail"]
        client.put("/v1/adapters/support", json={})
        answer = client.get("/v1/adapters/support/versions/v9")
    assert answer.json()["detail"] == "'support' has no version 'v9'."


def test_the_fleet_comes_worst_first(service: Serving) -> None:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
    with service.client(Scope.READ) as client:
        items = client.get("/v1/adapters").json()["items"]
    assert [item["verdict"] for item in items] == (
        ["critical", "drifting", "error", "insufficient"] + ["learning"] * 2 + ["stable"] * 6
    )
    worst = items[0]
    assert (worst["adapter"], worst["version"], worst["severity"]) == ("support", "v7", "page")
    assert worst["drift_score"] == 98.2
    assert worst["route"]["generation"] == 2


def test_an_adapter_shows_the_latest_score_of_each_detector(service: Serving) -> None:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
        worlds.stop_probes(tx, reason="the engine answered HTTP 500")
    with service.client(Scope.READ) as client:
        found = client.get("/v1/adapters/support").json()
    scores = found["scores"]
    assert found["probe"]["stopped"] == "the engine answered HTTP 500"
    assert found["probe"]["answered_at"] is not None
    assert [score["detector"] for score in scores] == sorted(worlds.DETECTORS)
    similarity = next(score for score in scores if score["detector"] == "input_similarity")
    # it has no page process: its evidence is minus infinity, which JSON calls null
    assert similarity["evidence"] is None
    assert similarity["details"]["evidence_notice"] > 0
    assert set(similarity) == {
        "adapter", "version", "detector", "title", "window", "value", "evidence", "effect",
        "interval", "n_reference", "n_window", "minimum_detectable", "verdict", "blame", "reason",
        "details", "coverage",
    }  # fmt: skip


def _all(client: httpx2.Client, path: str, **query: str | int) -> list[dict[str, Any]]:
    """Read every page of a list."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.get(path, params={**query, **({"cursor": cursor} if cursor else {})}).json()
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


def _place(item: dict[str, Any]) -> tuple[str, str]:
    return item["window"]["end"], item["detector"]


def test_history_pages_through_every_score_once(service: Serving) -> None:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
    with service.client(Scope.READ) as client:
        seen = [_place(item) for item in _all(client, "/v1/adapters/support/scores", limit=7)]
        whole = client.get("/v1/adapters/support/scores", params={"limit": 1000}).json()["items"]
    assert seen == [_place(item) for item in whole]
    assert len(set(seen)) == len(seen) > 40
    assert seen == sorted(seen, reverse=True)


def test_the_history_of_all_adapters_is_that_of_each(service: Serving) -> None:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.2)
    with service.client(Scope.READ) as client:
        fleet = _all(client, "/v1/scores", limit=50)
        names = {item["adapter"] for item in fleet}
        each = [
            item
            for name in names
            for item in _all(client, f"/v1/adapters/{quote(name, safe='')}/scores", limit=999)
        ]
        one = _all(client, "/v1/scores", adapter="support", detector="entropy", limit=5)
        hour = {"since": (now - timedelta(hours=1)).isoformat(), "until": now.isoformat()}
        lately = _all(client, "/v1/scores", **hour)
        unknown = client.get("/v1/scores", params={"adapter": "nobody"})
    assert len(names) > 5
    assert [_place(item) for item in fleet] == sorted(map(_place, fleet), reverse=True)
    assert sorted(fleet, key=_whose) == sorted(each, key=_whose)
    assert one == [i for i in fleet if (i["adapter"], i["detector"]) == ("support", "entropy")]
    assert lately == [i for i in fleet if _at(i) >= now - timedelta(hours=1) and _at(i) < now]
    assert 0 < len(lately) < len(fleet)
    assert unknown.status_code == 404


def _whose(item: dict[str, Any]) -> tuple[str, str, tuple[str, str]]:
    return item["adapter"], item["version"], _place(item)


def _at(item: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(item["window"]["end"])


def test_history_filters_by_detector_version_and_time(service: Serving) -> None:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.2)
    with service.client(Scope.READ) as client:
        only = client.get(
            "/v1/adapters/support/scores", params={"detector": "entropy", "version": "v7"}
        ).json()["items"]
        none = client.get("/v1/adapters/support/scores", params={"version": "v6"}).json()["items"]
        naive = client.get("/v1/adapters/support/scores", params={"since": "2026-01-01T00:00:00"})
    assert {(item["detector"], item["version"]) for item in only} == {("entropy", "v7")}
    assert none == []
    assert naive.status_code == 422
