"""The dashboard in a real browser."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.types import VerdictKind
from monitor.domain import Scope
from monitor.outbox.channels import ChannelFacts
from monitor.policy import Memory
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.records import capture_counts
from monitor.store.registry import adapters, versions
from monitor.store.tables.people import keys as keys_table
from tests import worlds
from tests.serving import Serving, serving
from tests.web.conftest import Looker


@pytest.fixture
def fleet(service: Serving) -> Serving:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=1.2)
    return service


def test_an_empty_service_teaches_how_to_begin(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    text = looker.page.inner_text("main")
    assert "Register a version" in text
    assert f"{looker.service.url}/v1/records" in text
    assert looker.complaints == []


def test_a_page_that_fails_says_so_as_a_page_and_shows_nothing_of_the_error(
    service: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("the secret prompt")

    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        monkeypatch.setattr("monitor.web.fleet_pages.fleet.fleet", fails)
        answer = client.get("/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "Internal Server Error" in answer.text
    assert "secret" not in answer.text
    assert "default-src" in answer.headers["content-security-policy"]


@pytest.mark.usefixtures("fleet")
def test_the_fleet_is_listed_worst_first(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    rows = looker.page.locator("tbody tr")
    assert rows.count() == 12
    first = rows.first.inner_text()
    assert all(
        word in first for word in ("support", "critical", "page", "less certain", "v6", "98")
    )
    assert "travel-assistant" in rows.nth(1).inner_text()


@pytest.mark.usefixtures("fleet")
def test_an_adapter_tells_its_whole_story(look: Callable[..., Looker]) -> None:
    looker = look()
    with looker.service.database.begin() as tx:
        worlds.stop_probes(tx, reason="the engine answered HTTP 500")
    looker.log_in()
    looker.click("text=support")
    looker.click("#believe > summary")
    text = looker.page.inner_text("main")
    for words in (
        "evidence 1.8 beyond its alert threshold",
        "v6 answers already",
        "approved by coverage",
        "12,480 records",
        "not seen yet: Saturday, Sunday",
        "HTTP 503",
        "oncall-pagerduty",
        "Began between",
        "to a probe since",
        "the engine answered HTTP 500",
    ):
        assert words in text, words


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("fleet")
def test_pages_fit_their_width_and_break_no_rule(
    look: Callable[..., Looker], width: int, scheme: str
) -> None:
    looker = look(width=width, scheme=scheme)
    looker.log_in()
    for path in ("/", "/docs", "/adapters/not-yet-served", "/adapters/nobody", "/routes"):
        looker.open(path)
        _fits(looker, path)
    looker.open_reasons("/adapters/support")
    _fits(looker, "support")
    complaints = [line for line in looker.complaints if "404" not in line]
    assert complaints == []
    assert looker.foreign == []


def _fits(looker: Looker, path: str) -> None:
    over = looker.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert over <= 0, f"{path} is {over} px too wide"


def test_a_page_refreshes_by_itself_and_keeps_the_focus(
    fleet: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in()
    looker.page.focus("text=travel-assistant")
    looker.page.evaluate("document.body.dataset.same = 'yes'")
    looker.page.evaluate("document.querySelector('[data-row=not-yet-served]').kept = true")
    with fleet.database.begin() as tx:
        version = versions.fetch(tx, adapter="support", name="v7")
        assert version is not None
        calm = worlds.a_verdict(VerdictKind.STABLE, datetime.now(UTC))
        verdicts.put(tx, version_id=version.id, verdict=calm, memory=Memory(), size=1.0)
    looker.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    looker.page.wait_for_selector("tbody tr.critical", state="detached", timeout=60_000)
    assert looker.page.evaluate("document.activeElement.textContent") == "travel-assistant"
    assert looker.page.evaluate("document.body.dataset.same") == "yes"  # no reload
    kept = "document.querySelector('[data-row=not-yet-served]').kept"
    assert looker.page.evaluate(kept), "a row that did not change is not replaced"


def test_the_first_steps_tick_themselves_off(service: Serving, look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    done = looker.page.locator(".steps .done h2")
    assert done.count() == 0
    with service.database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        version = versions.put(tx, adapter=adapter, name="v1", model="support")
    looker.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    looker.page.wait_for_selector("tbody tr", timeout=60_000)
    assert "support" in looker.page.inner_text("tbody tr")
    assert done.all_inner_texts() == ["Register a version done"]
    assert "/v1/adapters/support" not in looker.page.inner_text(".steps")
    assert "No message leaves Driftline" in looker.page.inner_text("[data-live=notices]")
    long_ago = datetime.now(UTC) - timedelta(days=3)
    with service.database.begin() as tx:
        capture_counts.add(tx, {(version.adapter_id, long_ago, "accepted"): 1})
    looker.page.evaluate("refresh()")
    assert done.all_inner_texts() == ["Register a version done", "Send a record done"]
    with service.database.begin() as tx:
        worlds.add_reference(tx, version, now=datetime.now(UTC))
    looker.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    looker.page.wait_for_selector(".steps", state="detached", timeout=60_000)
    assert "no channel is configured" in looker.page.inner_text("[data-live=notices]")
    assert looker.complaints == []


@pytest.mark.parametrize("channels", [(), (ChannelFacts(name="desk", kind="webhook"),)])
def test_only_a_channel_ticks_the_step_about_messages(
    database: Database, tmp_path: Path, channels: tuple[ChannelFacts, ...]
) -> None:
    with serving(database, tmp_path, known_channels=channels) as running:
        with database.begin() as tx:
            adapter = adapters.put(tx, name="support")
            version = versions.put(tx, adapter=adapter, name="v1", model="support")
            worlds.add_reference(tx, version, now=datetime.now(UTC))
        with running.client() as client:
            client.post("/login", data={"key": running.keys[Scope.READ]})
            page = client.get("/").text
    heard = bool(channels)
    assert 'Wait, or bring a reference <span class="faint">done' in page
    assert ('Say where messages go <span class="faint">done' in page) is heard
    assert ("No message leaves Driftline" in page) is not heard


@pytest.mark.usefixtures("fleet")
def test_the_readers_time_stands_beside_utc(look: Callable[..., Looker]) -> None:
    looker = look(zone="Asia/Kolkata")  # has no summer time: always 5:30 ahead
    looker.log_in()
    assert looker.page.inner_text("#zone").endswith("Asia/Calcutta") or looker.page.inner_text(
        "#zone"
    ).endswith("Asia/Kolkata")
    looker.open("/incidents/1")
    for region in ("facts", "timeline"):
        time = looker.page.locator(f"[data-live={region}] time").first
        at = datetime.fromisoformat(time.get_attribute("datetime") or "").astimezone(UTC)
        here = at + timedelta(hours=5, minutes=30)
        assert f"{here:%H:%M} GMT+5:30)" in time.locator(".here").inner_text()
        told = time.get_attribute("title") or ""
        assert told.startswith(f"{at:%Y-%m-%d %H:%M} UTC")
        assert f"{here:%H:%M}" in told
    looker.page.evaluate("document.querySelector('[data-live=timeline] time').kept = true")
    looker.page.evaluate("refresh()")
    assert looker.page.evaluate("document.querySelector('[data-live=timeline] time').kept"), (
        "what did not change stays"
    )
    assert looker.page.locator("[data-live=facts] time .here").count() == 3
    assert looker.complaints == []


@pytest.mark.usefixtures("fleet")
def test_a_lost_service_is_said(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.page.context.set_offline(True)
    looker.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    looker.page.wait_for_selector("#pulse.lost")
    assert looker.page.inner_text("#pulse").startswith("No answer since")
    looker.page.context.set_offline(False)
    looker.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    looker.page.wait_for_selector("#pulse:not(.lost)", state="attached")


@pytest.mark.usefixtures("fleet")
def test_the_keyboard_reaches_everything(look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    looker.open("/adapters/support")
    reached = []
    for _ in range(24):
        looker.page.keyboard.press("Tab")
        reached.append(looker.page.evaluate("document.activeElement.textContent.trim()"))
    assert reached[0] == "Skip to the content"
    assert {"Fleet", "Service", "Log out", "Open incident #1", "24h", "7d", "30d"} <= set(reached)


def test_only_a_key_that_may_read_logs_in(service: Serving, look: Callable[..., Looker]) -> None:
    looker = look()
    looker.open("/")
    assert looker.page.url.endswith("/login")
    for key, words in (("dl_wrong", "unknown"), (service.keys[Scope.INGEST], "may not read")):
        looker.page.fill("#key", key)
        looker.click("button[type=submit]")
        assert words in looker.page.inner_text("[role=alert]")
        assert key not in looker.page.content()
    assert looker.page.context.cookies() == []


def test_the_session_cookie_is_out_of_reach_and_ends_with_the_logout(
    service: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    looker.log_in()
    cookie = looker.page.context.cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert service.keys[Scope.READ] not in cookie["value"]
    assert looker.page.evaluate("document.cookie") == ""
    looker.click("text=Log out")
    assert looker.page.url.endswith("/login")
    looker.page.context.add_cookies([cookie])  # type: ignore[list-item]  # as the browser gave it
    looker.open("/")
    assert looker.page.url.endswith("/login")


def test_a_session_ends_with_its_key(service: Serving, look: Callable[..., Looker]) -> None:
    looker = look()
    looker.log_in()
    with service.database.begin() as tx:
        tx.execute(keys_table.update().values(revoked_at=datetime.now(UTC)))
    looker.open("/")
    assert looker.page.url.endswith("/login")
