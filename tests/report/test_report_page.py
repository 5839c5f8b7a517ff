"""Evidently's report, from the adapter's page: requested, drawn by a worker, opened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from monitor.domain import Scope
from monitor.report.job import Reports
from tests.browser import chromium
from tests.report.conftest import Watched
from tests.serving import serving


def test_people_have_it_drawn_open_it_and_take_the_snapshot(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = frozen(shift=2.0)
    complaints: list[str] = []

    def heard(message: Any) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    with (
        serving(watched.database, tmp_path) as service,
        sync_playwright() as driver,
        chromium(driver) as browser,
    ):
        page = browser.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def log_in(scope: Scope) -> None:
            page.context.clear_cookies()
            page.goto(f"{service.url}/login")
            page.fill("#key", service.keys[scope])
            page.click("button[type=submit]")
            page.wait_for_url(f"{service.url}/")

        log_in(Scope.READ)
        page.goto(f"{service.url}/adapters/support")
        assert page.locator("#report button").count() == 0
        log_in(Scope.ADMIN)
        page.goto(f"{service.url}/adapters/support")
        page.click("#report button")
        page.get_by_text("Waiting for a worker").wait_for()
        assert Reports(database=watched.database).turn()
        opened = page.get_by_role("link", name="Open the report")
        opened.wait_for()  # the page looks again by itself
        assert "records with 1,500 of the reference" in page.inner_text("main")
        with page.expect_download() as got:
            page.get_by_role("link", name="Download").click()
        assert json.loads(got.value.path().read_bytes())["metric_results"]
        assert complaints == []
        opened.click()
        page.get_by_text("mean_nll").first.wait_for()
        assert "Evidently's own" in page.inner_text("body")
        page.goto(f"{service.url}/adapters/support")
        assert "done" in page.inner_text("#report")
    assert [text for text in complaints if "Content Security Policy" in text] == []
