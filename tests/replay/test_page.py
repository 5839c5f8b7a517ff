"""The replay's page in a real browser, opened as the file that it is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from monitor.evaluate.settings import EvaluateSettings
from monitor.replay.page import page_of, plotly_script
from monitor.replay.reading import LogReading
from monitor.replay.replaying import ReplayParts, Request, replay
from monitor.replay.watch import Unwatched
from tests.browser import chromium
from tests.replay.conftest import BagOfWords, Talk, Write
from tests.replay.test_replaying import CADENCES
from tests.service import until

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver, chromium(driver) as opened:
        yield opened


def test_the_page_draws_offline_and_obeys_no_text(
    browser: Browser, write: Write, tmp_path: Path
) -> None:
    talk = Talk(adapter=EVIL, version="v7")
    base = talk.records(1_020, begin=BEGIN, over=15 * DAY)
    log = talk.records(150, begin=BEGIN + 15 * DAY, over=DAY)
    log += talk.records(150, begin=BEGIN + 16 * DAY, over=DAY, shift=2.0, prompt=EVIL)
    request = Request(
        log=write("log.jsonl", log),
        baseline=write("baseline.jsonl", base),
        reading=LogReading(excerpts=True),
        examples=3,
    )
    tools = ReplayParts(settings=EvaluateSettings(), cadences=CADENCES, embed=BagOfWords())
    outcome = replay(request, tools, watch=Unwatched())
    page = tmp_path / "replay.html"
    page.write_text(page_of(outcome, script=plotly_script().read_text()), encoding="utf-8")

    seen, asked = browser.new_page(), []
    seen.on("console", lambda message: asked.append(message.text))
    seen.on("pageerror", lambda error: asked.append(str(error)))
    seen.on("dialog", lambda dialog: asked.append(dialog.message))
    seen.on("request", lambda sent: asked.append(sent.url))
    seen.goto(page.as_uri())
    seen.wait_for_selector(".scatterlayer .trace", timeout=60_000)
    assert asked == [page.as_uri()], "nothing is fetched, run or complained about"
    assert seen.locator(".scatterlayer .trace").count() >= 8
    assert seen.locator("li").first.inner_text() == EVIL
    assert "critical" in seen.locator("h2").inner_text()
    seen.set_viewport_size({"width": 390, "height": 844})
    width = "document.documentElement.scrollWidth"
    until(lambda: seen.evaluate(width) <= 390, "the chart follows a narrow screen", patience=30)
    seen.close()
