"""Routes: nobody overwrites what they did not see, and waiting costs no threads."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from monitor.domain import Scope
from monitor.store.database import Database
from tests.routed import Vllm, answering
from tests.serving import Serving, proof_of, serving

STABLE: dict[str, Any] = {
    "arms": [{"arm": "stable", "version": "v1", "weight": 1.0}],
    "reason": "by hand",
}


@pytest.fixture
def routed(service: Serving) -> Serving:
    with service.client(Scope.ADMIN) as client:
        assert client.put("/v1/adapters/support/versions/v1", json={}).status_code == 200
    return service


def test_a_put_without_if_match_is_a_428(routed: Serving) -> None:
    with routed.client(Scope.OPERATE) as client:
        assert client.put("/v1/routes/support", json=STABLE).status_code == 428


@pytest.mark.parametrize("tag", ['"7"', '"0"', "*", "1", "", '"x"'])
def test_a_put_on_what_is_no_longer_there_is_a_412(routed: Serving, tag: str) -> None:
    with routed.client(Scope.OPERATE) as client:
        answer = client.put("/v1/routes/support", json=STABLE, headers={"if-match": tag})
    assert answer.status_code == 412, answer.text


def test_a_put_with_the_current_tag_makes_the_next_generation(routed: Serving) -> None:
    with routed.client(Scope.ADMIN) as client:
        tag = client.get("/v1/routes/support").headers["etag"]
        made = client.put("/v1/routes/support", json=STABLE, headers={"if-match": tag})
        epoch = made.json()["epoch"]
        assert (made.status_code, made.headers["etag"]) == (200, f'"{epoch}-2"')
        assert made.json()["reason"] == "by hand"
        assert client.get("/v1/routes").json()["items"] == [made.json()]


@pytest.mark.parametrize(
    "arms",
    [
        [{"arm": "stable", "version": "v1", "weight": 0.5}],
        [{"arm": "stable", "version": "v9", "weight": 1.0}],
        [{"arm": "canary", "version": "v1", "weight": 1.0}],
        [{"arm": "stable", "version": "v1", "weight": 2.0}],
        [],
    ],
)
def test_an_impossible_route_is_a_422_with_its_faults(routed: Serving, arms: object) -> None:
    with routed.client(Scope.OPERATE) as client:
        answer = client.put(
            "/v1/routes/support", json={"arms": arms, "reason": "x"}, headers={"if-match": '"1"'}
        )
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


def tag_of(client: httpx2.Client) -> str:
    return str(client.get("/v1/routes/support").headers["etag"])


def test_a_known_edition_is_a_304_without_a_body(routed: Serving) -> None:
    with routed.client(Scope.READ) as client:
        known = tag_of(client)
        answer = client.get("/v1/routes/support", headers={"if-none-match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == known
        # a generation alone says nothing: it may be of a state of the database that was lost
        for other in ('"1"', known.replace("-1", "-9"), '"5-1"'):
            found = client.get("/v1/routes/support", headers={"if-none-match": other})
            assert (found.status_code, found.headers["etag"]) == (200, known)


def test_an_epoch_ends_every_wait_and_refuses_what_was_seen_before(routed: Serving) -> None:
    with routed.client(Scope.ADMIN) as client:
        before, fleet = tag_of(client), client.get("/v1/routes").headers["etag"]
        opened = client.post("/v1/routes/epoch", json={"reason": "a folder was put back"})
        assert opened.status_code == 201
        assert (opened.json()["reason"], opened.json()["by"]) == (
            "a folder was put back",
            "for admin",
        )
        for path, tag in (("/v1/routes", fleet), ("/v1/routes/support", before)):
            held = {"if-none-match": tag}
            assert client.get(path, headers=held, params={"wait": 30}).status_code == 200
        late = client.put("/v1/routes/support", json=STABLE, headers={"if-match": before})
        assert (late.status_code, late.headers["etag"]) == (412, tag_of(client))
        assert f"of epoch {opened.json()['epoch']}, not of" in late.json()["detail"]
        again = {"if-match": late.headers["etag"]}
        assert client.put("/v1/routes/support", json=STABLE, headers=again).is_success
    with routed.client(Scope.READ) as client:
        assert client.post("/v1/routes/epoch", json={"reason": "x"}).status_code == 403


def test_what_a_router_refuses_is_told_of_its_route(routed: Serving) -> None:
    held = {"adapter": "support", "epoch": 1764298000, "generation": 4}
    with routed.client(Scope.ADMIN) as client:
        epoch = client.get("/v1/routes/support").json()["epoch"]
        ours = held | {"epoch": epoch}
        of_another = ours | {"told_epoch": epoch - 9}
        for one, said in ((ours, True), (held, False), (of_another, False)):
            with routed.client(Scope.INGEST) as router:
                body = {"router": "gateway a:8441", "held": [one]}
                assert router.post("/v1/routes/refusals", json=body).status_code == 204
            behind = client.get("/v1/routes/support").json()["behind"]
            assert (behind is not None) is said
        with routed.client(Scope.READ) as reader:
            assert reader.post("/v1/routes/refusals", json=body).status_code == 403
        assert client.post("/v1/routes/refusals", json={"router": "a", "held": []}).is_success


def test_hundreds_wait_for_a_change_while_the_service_answers_others(routed: Serving) -> None:
    # 40 threads serve the API: with 200 waiters in them nobody else would be answered
    answers = asyncio.run(_wait_and_change(routed, waiters=200))
    assert [answer.status_code for answer in answers] == [200] * 200
    assert {answer.json()["generation"] for answer in answers} == {2}


async def _wait_and_change(service: Serving, *, waiters: int) -> list[httpx2.Response]:
    limits = httpx2.Limits(max_connections=None)
    headers = {"authorization": f"Bearer {service.keys[Scope.ADMIN]}"}
    async with httpx2.AsyncClient(
        base_url=service.url, headers=headers, limits=limits, timeout=60, trust_env=False
    ) as client:
        query = {"wait": 30}
        known = {"if-none-match": (await client.get("/v1/routes/support")).headers["etag"]}
        polls = [
            asyncio.create_task(client.get("/v1/routes/support", params=query, headers=known))
            for _ in range(waiters)
        ]
        await asyncio.sleep(1.0)
        assert (await client.get("/v1/adapters")).is_success
        assert (await client.get("/readyz")).is_success
        assert not any(poll.done() for poll in polls), "they were answered before the others"
        await client.put("/v1/routes/support", json=STABLE, headers={"if-match": '"1"'})
        return await asyncio.gather(*polls)


def test_a_wait_without_a_change_ends_as_a_304(routed: Serving) -> None:
    with routed.client(Scope.READ) as client:
        known = {"if-none-match": tag_of(client)}
        answer = client.get("/v1/routes/support", params={"wait": 0.3}, headers=known)
    assert answer.status_code == 304


def test_a_change_of_any_route_ends_the_wait_for_the_fleet(routed: Serving) -> None:
    with routed.client(Scope.ADMIN) as client:
        first = client.get("/v1/routes")
        known = {"if-none-match": first.headers["etag"]}
        assert client.get("/v1/routes", headers=known).status_code == 304
        answer = asyncio.run(_follow_the_fleet(routed, known))
        assert [(one["adapter"], one["generation"]) for one in answer.json()["items"]] == [
            ("support", 1),
            ("travel", 1),
        ]
        assert client.get("/v1/routes", headers=known, params={"wait": 9}).json() == answer.json()
        current = {"if-none-match": answer.headers["etag"]}
        assert client.get("/v1/routes", headers=current, params={"wait": 0.3}).status_code == 304


async def _follow_the_fleet(service: Serving, known: dict[str, str]) -> httpx2.Response:
    headers = {"authorization": f"Bearer {service.keys[Scope.ADMIN]}"}
    async with httpx2.AsyncClient(
        base_url=service.url, headers=headers, timeout=60, trust_env=False
    ) as client:
        poll = asyncio.create_task(client.get("/v1/routes", params={"wait": 30}, headers=known))
        await asyncio.sleep(0.5)
        assert not poll.done()
        await client.put("/v1/adapters/travel/versions/v1", json={})
        # the wait itself would end only after 30 s
        return await asyncio.wait_for(poll, 25)


def put(client: httpx2.Client, generation: int, body: dict[str, object]) -> httpx2.Response:
    tag = f'"{generation}"'
    return client.put("/v1/routes/support", json=body, headers={"if-match": tag})


def to_canary(version: str, **more: Any) -> dict[str, object]:
    return {
        "arms": [
            {"arm": "stable", "version": "v1", "weight": 0.9},
            {"arm": "canary", "version": version, "weight": 0.1},
        ],
        "reason": "a trial",
    } | more


def test_a_version_gets_traffic_only_where_every_engine_serves_it(
    database: Database, tmp_path: Path
) -> None:
    first, second = Vllm(), Vllm()
    with (
        answering(first.respond) as one,
        answering(second.respond) as other,
        serving(database, tmp_path, proof=proof_of(database, one, other)) as service,
        service.client(Scope.ADMIN) as client,
    ):
        for version in ("v1", "v2"):
            client.put(f"/v1/adapters/support/versions/{version}", json={})
        refused = put(client, 1, to_canary("v2"))
        assert (refused.status_code, refused.json()["type"][-10:]) == (409, "not-served")
        first.models["support@v2"] = "/adapters/v2"
        refused = put(client, 1, to_canary("v2"))
        assert refused.json()["detail"] == f"support@v2 is not served by {other}/…"
        assert client.get("/v1/routes/support").json()["generation"] == 1
        second.models["support@v2"] = "/adapters/v2"
        assert put(client, 1, to_canary("v2")).status_code == 200
        # what answers already is not asked for: this is how people get out of trouble
        first.models.clear()
        all_of_it: dict[str, Any] = {
            "arms": [{"arm": "stable", "version": "v2", "weight": 1.0}],
            "reason": "x",
        }
        assert put(client, 2, all_of_it).status_code == 200
        assert put(client, 3, to_canary("v2")).status_code == 409
        forced = put(client, 3, to_canary("v2", unproven=True))
        assert forced.json()["reason"] == "a trial (unproven)"
    with (
        serving(database, tmp_path, proof=proof_of(database, one)) as service,
        service.client(Scope.ADMIN) as client,
    ):
        put(client, 4, STABLE | {"unproven": True})
        silent = put(client, 5, to_canary("v2"))
        assert silent.status_code == 409
        assert silent.json()["detail"].startswith("nothing shows that support@v2 is served")


def test_history_tells_every_generation_who_and_why_and_a_hold_is_seen(routed: Serving) -> None:
    until = "2999-01-01T00:00:00Z"
    with routed.client(Scope.ADMIN) as client:
        for generation in (1, 2, 3):
            made = put(client, generation, STABLE | {"reason": f"reason {generation}"})
            assert made.json()["hold_until"] is None
        held = put(client, 4, STABLE | {"hold_until": until}).json()
        assert (held["hold_until"], held["by"]) == (until, "for admin")
        assert client.get("/v1/routes/support").json() == held
        newest = client.get("/v1/routes/support/history", params={"limit": 2}).json()
        assert [one["generation"] for one in newest["items"]] == [5, 4]
        older = client.get("/v1/routes/support/history", params={"cursor": newest["next"]}).json()
        told = [(one["generation"], one["reason"], one["by"]) for one in older["items"]]
        assert told[0] == (3, "reason 2", "for admin")
        assert told[2] == (1, "first version v1 registered", "for admin")
        assert older["next"] is None
        assert client.get("/v1/routes/travel/history").status_code == 404
