"""``/v1/models`` has the names that clients ask for, whatever the engines are at."""

from typing import Any

from tests.gateway.conftest import Stage, Start, listening, route
from tests.gateway.stub_engine import StubEngine
from tests.loopback import unused_port


def listed(stage: Stage, **headers: str) -> list[dict[str, Any]]:
    with stage.client() as client:
        reply = client.get("/v1/models", headers=headers)
    assert reply.is_success, reply.text
    return list(reply.json()["data"])


def test_adapters_come_first_with_the_card_of_the_version_that_answers_most(start: Start) -> None:
    stage = start([route(stable=0.8, canary=0.2), route("booking", stable=1.0)])
    cards = listed(stage)
    own = ["booking", "support"]
    assert [card["id"] for card in cards] == [*own, *sorted(stage.engine.models)]
    assert cards[1] == {
        "id": "support",
        "object": "model",
        "root": "/lora/support@v1",
        "parent": "base",
    }


def test_a_name_that_the_engine_serves_too_is_there_once(start: Start) -> None:
    stage = start([route(stable=1.0)])
    stage.engine.models.add("support")
    assert [card["id"] for card in listed(stage)].count("support") == 1


def test_a_version_that_no_engine_lists_is_told_by_what_is_known(start: Start) -> None:
    stage = start([route(stable=1.0)])
    stage.engine.models = {"base"}
    card = listed(stage)[0]
    assert (card["id"], card["root"], card["parent"]) == ("support", "support@v1", None)


def test_one_engine_down_changes_nothing_and_with_all_down_the_adapters_are_told(
    start: Start,
) -> None:
    engine, gone = StubEngine(models={"support@v1", "base"}), f"http://127.0.0.1:{unused_port()}"
    with listening(engine.app()) as up:
        stage = start([route(stable=1.0)], engines=0, upstreams=(gone, up))
        for _ in range(3):
            assert [card["id"] for card in listed(stage)] == ["support", "base", "support@v1"]
    assert [card["id"] for card in listed(stage)] == ["support"]


def test_an_engine_that_wants_a_key_decides_who_sees_the_names(start: Start) -> None:
    stage = start([route(stable=1.0)])
    stage.engine.key = "k"
    with stage.client() as client:
        refused = client.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["message"]) == (401, "Unauthorized")
    assert listed(stage, authorization="Bearer k")[0]["id"] == "support"


def test_without_routes_the_engines_list_passes_untouched(start: Start) -> None:
    stage = start([])
    stage.engine.models = {"base"}
    assert [card["id"] for card in listed(stage)] == ["base"]
