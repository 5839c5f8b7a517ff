"""The README's pictures, of pages of a real service in a real browser.

``python -m tests.docs.pictures`` draws them anew (``make pictures``).
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, ViewportSize, sync_playwright

from monitor.domain import Scope
from monitor.postgres import EmbeddedPostgres
from monitor.store import schema
from monitor.store.database import Database
from monitor.store.incidents import incidents
from tests import worlds
from tests.docs.pages import DOCS
from tests.serving import Serving, serving
from tests.web.conftest import PATIENT, chromium

PICTURES: Final = DOCS / "pictures"
SIZE: Final[ViewportSize] = {"width": 1180, "height": 720}
LARGEST: Final = 150 * 1024


def draw(service: Serving, into: Path) -> None:
    """Draw the page of the incident and that of the fallback, of a fleet that has both."""
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.3)
        (paged,) = (one for one in incidents.incident_list(tx) if one.adapter == "support")
    with sync_playwright() as driver, chromium(driver) as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light", locale="en-GB")
        page.set_default_timeout(PATIENT)
        page.goto(f"{service.url}/login")
        page.fill("#key", service.keys[Scope.ADMIN])
        page.click("button[type=submit]")
        page.wait_for_url(f"{service.url}/")
        _shoot(page, f"{service.url}/incidents/{paged.id}", into / "incident.png")
        _shoot(page, f"{service.url}/routes/support", into / "fallback.png")


def _shoot(page: Page, address: str, to: Path) -> None:
    page.goto(address)
    page.screenshot(path=to, animations="disabled")
    if to.stat().st_size > LARGEST:
        raise SystemExit(f"{to.name} has {to.stat().st_size:,} bytes, more than {LARGEST:,}")


def main() -> None:
    """Serve a seeded fleet and draw its pages."""
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "server") as server:
        database = Database(server.url)
        schema.migrate(database)
        with serving(database, Path(name)) as service:
            draw(service, PICTURES)
        database.close()


if __name__ == "__main__":
    main()
