"""Who answers, who moved it, and the buttons of the pages that show it."""

from collections.abc import Callable
from datetime import UTC, datetime

import httpx2
import pytest
from sqlalchemy import Connection

from monitor.domain import ActionId, ArmKind, Scope
from monitor.store.traffic import actions, flags, routes
from monitor.store.traffic.actions import ActionState
from monitor.traffic.arms import ArmRequest
from tests import worlds
from tests.serving import Serving
from tests.web import moves
from tests.web.conftest import Looker

PAGE = "/routes/acme%2Frefunds"


@pytest.fixture
def waits(service: Serving) -> ActionId:
    """A fleet that was moved about, and the action of it that waits for a person."""

    def seed(tx: Connection) -> ActionId:
        waiting = moves.seed(tx, now=datetime.now(UTC))
        moves.on_trial(tx, now=datetime.now(UTC))
        return waiting

    return service.database.run(seed)


def test_the_routes_are_listed_with_what_moved_them_and_an_action_is_approved_there(
    service: Serving, waits: ActionId, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.click("nav >> text=Routes")
    rows = looker.page.locator("[data-live=routes] tbody tr")
    trial, held, fallback = (rows.nth(n).inner_text() for n in range(3))
    for words in ("catalogue", "canary v2 10 %", "shadow v2 0 %", "then stable"):
        assert words in trial, words
    assert "nobody touches it during the sale" in held
    assert "held until" in held
    assert f"The router does something else: redis refused it: {moves.HOSTILE}" in held
    for words in ("support", "v7 0 %", "fallback v6 100 %", "to support@v6", "Driftline"):
        assert words in fallback, words
    done = looker.page.inner_text("[data-live=actions]")
    for words in (
        "confirmed by the router",
        "blocked: the adapter had used its fallbacks of the day",
        moves.HOSTILE,
    ):
        assert words in done, words
    for words in ("canary of v2", "running 10 %"):
        assert words in done, words
    report = looker.page.inner_text("[data-live=report]")
    assert "it would have acted 2 times in 14 days" in report
    assert "1 blocked because the adapter had used its fallbacks of the day" in report
    waiting = looker.page.inner_text("[data-live=waiting]")
    assert "waits for approval fallback of acme/refunds@v2 to v1" in waiting
    assert "Driftline would have done this" in waiting

    looker.click(f"#approve-{waits}")
    looker.click("text=Move the traffic to v1 now")
    looker.page.wait_for_url(f"{service.url}{PAGE}#action-{waits}")
    shown = looker.page.inner_text(f"#action-{waits}")
    assert "done confirmed by the router" in shown
    assert "for admin" in shown
    assert "fallback v1 100 %" in looker.page.inner_text("[data-live=history] tr.moved")
    assert "fallback" in looker.page.inner_text("dt:text('Breaker') + dd")
    moved = service.database.run(lambda tx: routes.get(tx, moves.WAITS))
    assert moved is not None
    assert [(arm.arm, arm.version) for arm in moved.arms if arm.weight] == [("fallback", "v1")]
    looker.open("/routes/%3Cimg%20src=x%20onerror=alert(1)%3E")
    assert moves.HOSTILE in looker.page.inner_text("h1")
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_the_kill_switch_is_a_button_and_a_typed_reason_outlives_a_refresh(
    service: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.open("/routes")
    assert "No adapter yet" in looker.page.inner_text("[data-live=routes]")
    assert "Nothing waits" in looker.page.inner_text("[data-live=waiting]")
    looker.page.fill("#switch-reason", "the engines are being <b>moved</b>")
    with looker.page.expect_response(f"{service.url}/routes"):
        looker.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    looker.click("text=Stop all automatic actions")
    shown = looker.page.inner_text("#kill-switch")
    assert "Nothing moves by itself: set by for admin: the engines are being <b>moved</b>" in shown
    looker.open("/")
    assert "Kill switch on." in looker.page.inner_text("[data-live=notices]")
    looker.click("[data-live=notices] a")
    looker.page.fill("#switch-reason", "they are in place")
    looker.click("text=Let actions go on")
    assert "switched it off" in looker.page.inner_text("#kill-switch")
    flag = service.database.run(flags.kill_switch)
    assert flag is not None
    assert (flag.on, flag.reason, flag.actor) == (False, "they are in place", "for admin")
    assert looker.complaints == []


def test_nothing_moves_for_a_reader_another_site_or_twice(
    service: Serving, waits: ActionId
) -> None:
    approve = f"/actions/{waits}/approve"

    def sent(scope: Scope, path: str, **headers: str) -> httpx2.Response:
        with service.client() as client:
            client.post("/login", data={"key": service.keys[scope]})
            return client.post(path, data={"set": "on", "reason": "x"}, headers=headers)

    with service.client() as stranger:
        for path in (approve, "/kill-switch", "/routes", PAGE):
            method = "POST" if path in {approve, "/kill-switch"} else "GET"
            assert stranger.request(method, path).headers["location"] == "/login"
    for path in (approve, "/kill-switch"):
        assert sent(Scope.READ, path).status_code == 403
        assert sent(Scope.ADMIN, path, **{"sec-fetch-site": "cross-site"}).status_code == 403
    action, switch = service.database.run(
        lambda tx: (actions.fetch(tx, waits), flags.kill_switch(tx))
    )
    assert (action.state, switch) == (ActionState.AWAITING_APPROVAL, None)
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        assert "may <code>operate</code> to approve" in client.get("/routes").text
        assert "Approve…" not in client.get("/routes").text
        assert client.get("/routes/nobody").status_code == 404
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.ADMIN]})
        for fields in ({"set": "on"}, {"set": "maybe", "reason": "x"}):
            assert client.post("/kill-switch", data=fields).status_code == 403
        assert client.post(approve).status_code == 303
        again = client.post(approve)
        assert (again.status_code, "Nothing was done" in again.text) == (409, True)
        assert client.post("/actions/4711/approve").status_code == 404


def test_every_generation_is_reached_page_by_page(service: Serving) -> None:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.registered(tx, "support", "v1", owner="x", now=now)
        for generation in range(1, 53):
            arms = [ArmRequest(arm=ArmKind.STABLE, version="v1", weight=1.0)]
            worlds.table.put(
                tx, "support", arms=arms, expected_generation=generation,
                reason=f"turn {generation}", actor="ann", now=now,
            )  # fmt: skip
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        newest = client.get("/routes/support").text
        assert newest.count("turn ") == 51  # the one in force stands above, too
        assert 'href="?before=4#history-title"' in newest
        oldest = client.get("/routes/support?before=4").text
    assert "turn 2" in oldest
    assert "turn 3" not in oldest.split("Every generation")[1]
    assert "older generations" not in oldest
