from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from monitor.domain import Scope
from monitor.store.database import Database
from tests.browser import chromium
from tests.serving import Serving, serving
from tests.sharing import of_folder

SLOW = 180_000
"""Milliseconds that a page may take on a busy machine."""


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Browser:
    """The folder's: while there is one, nothing else of its worker may run an event loop."""
    return of_folder(request, _browser)


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as driver, chromium(driver) as opened:
        yield opened


class Looker:
    """Somebody in front of a page, with everything the browser complains about."""

    def __init__(self, page: Page, service: Serving) -> None:
        self.page = page
        page.set_default_timeout(SLOW)
        self.service = service
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.foreign: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._asked)
        page.on("request", self._requested)

    def log_in(self, scope: Scope = Scope.READ) -> None:
        self.page.goto(f"{self.service.url}/login")
        self.page.fill("#key", self.service.keys[scope])
        self.click("button[type=submit]")
        self.page.wait_for_url(f"{self.service.url}/")

    def open(self, path: str) -> None:
        self.page.goto(self.service.url + path)

    def open_reasons(self, path: str) -> None:
        """Open an adapter's page with what stands under "Why believe it"."""
        self.open(path)
        self.click("#believe > summary")

    def click(self, where: str | Locator) -> None:
        """Click, and wait until the page that this opens, if any, is there in whole.

        The browser's own click returns when a new page begins to arrive: a list may be empty yet.
        """
        if isinstance(where, str):
            self.page.click(where)
        else:
            where.click()
        self.page.wait_for_load_state("domcontentloaded")

    def _heard(self, message: object) -> None:
        if message.type in {"error", "warning"}:  # type: ignore[attr-defined]
            self.complaints.append(message.text)  # type: ignore[attr-defined]

    def _asked(self, dialog: object) -> None:
        self.dialogs.append(dialog.message)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]

    def _requested(self, request: object) -> None:
        url = request.url  # type: ignore[attr-defined]
        if not url.startswith((self.service.url, "data:")):
            self.foreign.append(url)


@pytest.fixture
def look(browser: Browser, service: Serving) -> Iterator[Callable[..., Looker]]:
    contexts = []

    def start(*, width: int = 1280, scheme: str = "light", zone: str = "UTC") -> Looker:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            timezone_id=zone,
        )
        contexts.append(context)
        return Looker(context.new_page(), service)

    yield start
    for context in contexts:
        context.close()
