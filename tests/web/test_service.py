"""The pages of the service itself: channels, audit, keys and settings."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.domain import ChangeKind, Scope
from monitor.outbox.channels import ChannelFacts
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.incidents import deliveries
from monitor.store.incidents.outbox import DeliveryState
from monitor.store.people import changes, keys
from tests import worlds
from tests.serving import Serving, serving
from tests.web.conftest import Looker

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    channels = (
        ChannelFacts(name="desk", kind="webhook", fallback="log"),
        ChannelFacts(name="log", kind="log", unacknowledged_for=timedelta(minutes=15)),
    )
    with serving(database, tmp_path, known_channels=channels) as running:
        yield running


@pytest.fixture
def dead(service: Serving) -> str:
    """The id of a message that its channel never took."""
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.1)
        worlds.put_message(tx, 1, "desk", at=now, error=f"HTTP 410 {HOSTILE}", attempts=12)
        tx.execute(sa.text("UPDATE outbox SET state = 'dead' WHERE channel = 'desk'"))
        [found] = deliveries.newest(tx, state=DeliveryState.DEAD)
    return str(found.id)


def test_a_message_that_no_channel_took_is_sent_again_from_the_page(
    service: Serving, dead: str, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.click("[data-live=notices] >> text=See them")
    row = looker.page.locator("[data-live=channels] tr", has_text="webhook").inner_text()
    for words in ("desk", "everything", "log is told"):
        assert words in row, words
    assert f"HTTP 410 {HOSTILE} after 12 attempts" in looker.page.inner_text("[data-live=dead]")
    looker.click("text=Send again")
    looker.page.wait_for_selector("text=What is still being tried stands beside its channel")
    with service.database.begin() as tx:
        [said] = audit.newest(tx, subject=dead)
        assert deliveries.newest(tx, state=DeliveryState.DEAD) == []
    assert (said.actor, said.act) == ("for admin", "delivery.replay")
    assert (looker.complaints, looker.dialogs) == ([], [])


def test_only_who_may_sends_again_revokes_or_sees_keys(service: Serving, dead: str) -> None:
    with service.database.begin() as tx:
        known = {one.name: one.id for one in keys.fetch_all(tx)}
    replay, revoke = f"/deliveries/{dead}/replay", f"/keys/{known['for ingest']}/revoke"
    for path in ("/channels", "/audit", "/keys", "/settings", replay, revoke):
        with service.client() as stranger:
            method = "POST" if path in {replay, revoke} else "GET"
            assert stranger.request(method, path).headers["location"] == "/login"
    with service.client() as reader:
        reader.post("/login", data={"key": service.keys[Scope.READ]})
        assert "Send again" not in reader.get("/channels").text
        assert reader.post(replay).status_code == reader.post(revoke).status_code == 403
        page = reader.get("/keys")
        assert (page.status_code, known["for ingest"] in page.text) == (403, False)
        assert "may admin" in page.text
    with service.client() as admin:
        admin.post("/login", data={"key": service.keys[Scope.ADMIN]})
        elsewhere = {"sec-fetch-site": "cross-site"}
        assert admin.post(revoke, headers=elsewhere).status_code == 403
        assert [admin.post(path).status_code for path in (replay, replay)] == [303, 409]
        assert [admin.post(path).status_code for path in (revoke, revoke)] == [303, 409]
        assert admin.post("/deliveries/not-an-id/replay").status_code == 422


def test_a_key_is_revoked_and_ones_own_ends_the_session(
    service: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in(Scope.ADMIN)
    looker.click("nav >> text=Service")
    looker.click("nav[aria-label=Service] >> text=Keys")
    row = looker.page.locator("tr", has_text="for ingest")
    row.locator("summary").click()
    row.locator("text=Revoke for ingest for good").click()
    looker.page.wait_for_selector("tr:has-text('for ingest') >> text=revoked")
    own = looker.page.locator("tr", has_text="yours")
    own.locator("summary").click()
    assert "this logs you out" in own.inner_text()
    own.locator("button").click()
    looker.page.wait_for_url("**/login")
    with service.database.begin() as tx:
        said = [one for one in audit.newest(tx) if one.act == "key revoked"]
        working = [one.name for one in keys.fetch_all(tx) if one.revoked_at is None]
    assert [one.actor for one in said] == ["for admin"] * 2
    assert sorted(working) == ["for ask", "for operate", "for read"]
    assert looker.complaints == []


def test_who_did_what_is_listed_page_by_page_beside_declared_changes(
    service: Serving, look: Callable[..., Looker]
) -> None:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        for number in range(101):
            details = {"reason": f"turn {number} {HOSTILE}", "more": {"not": "shown"}}
            audit.append(tx, actor="ann", act="route.changed", subject="support", details=details)
        changes.add(
            tx,
            changes.Declaration(
                kind=ChangeKind.ENGINE,
                title=HOSTILE,
                adapters=None,
                begun_at=now - timedelta(hours=3),
                ended_at=None,
                author="bea",
            ),
        )
    looker = look(width=390, scheme="dark")
    looker.log_in()
    looker.open("/audit")
    text = looker.page.inner_text("main")
    for words in (HOSTILE, "under way", "bea", "turn 100", "route: changed"):
        assert words in text, words
    assert "not shown" not in text
    assert looker.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    looker.click("text=older entries")
    older = looker.page.inner_text("main")
    assert "turn 0" in older
    assert "Declared changes" not in older
    assert (looker.complaints, looker.dialogs) == ([], [])


def test_settings_are_shown_as_they_are(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.open("/settings")
    looker.click("summary >> text=alerting")
    text = looker.page.inner_text("main")
    assert "alerting.false_pages_per_30_days" in text
    assert "database.url" not in text, "what is as usual is folded"
    assert looker.complaints == []


@pytest.mark.parametrize("width", [1440, 390])
def test_these_pages_fit(dead: str, look: Callable[..., Looker], width: int) -> None:
    looker = look(width=width)
    looker.log_in(Scope.ADMIN)
    assert dead
    for path in ("/channels", "/audit", "/keys", "/settings", "/docs"):
        looker.open(path)
        over = looker.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{path} is {over} px too wide"
        here = looker.page.locator("nav[aria-label=Main] [aria-current]").inner_text()
        assert here == "Service"
