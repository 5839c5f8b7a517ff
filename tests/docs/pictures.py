"""The README's pictures: the demo's broken weights, as the dashboard shows them.

``python -m tests.docs.pictures`` plays the demo until traffic has moved, and draws its pages in a
real browser (``make pictures``).
"""

import hashlib
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, ViewportSize, sync_playwright

from examples.demo.acts.healthy import healthy
from examples.demo.acts.weights import until_moved
from examples.demo.narrator import Narrator
from examples.demo.setting import open_stage
from monitor.web.frame import TEMPLATES
from tests.browser import PATIENT, chromium
from tests.docs.pages import DOCS

PICTURES: Final = DOCS / "pictures"
SIZE: Final[ViewportSize] = {"width": 1180, "height": 720}
LARGEST: Final = 150 * 1024
OF_PAGES: Final = PICTURES / "pages.sha256"
"""The hash of the templates that the pictures were drawn from."""


def hash_of_pages() -> str:
    """Hash the templates of the two pages, and what they share."""
    texts = [
        (TEMPLATES / name).read_bytes() for name in ("incident.html", "route.html", "parts.html")
    ]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def draw(dashboard: str, key: str, *, adapter: str, into: Path) -> None:
    """Draw the newest incident of an adapter, and its route."""
    with sync_playwright() as driver, chromium(driver) as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light", locale="en-GB")
        page.set_default_timeout(PATIENT)
        page.goto(f"{dashboard}/login")
        page.fill("#key", key)
        page.click("button[type=submit]")
        page.wait_for_url(f"{dashboard}/")
        page.goto(f"{dashboard}/incidents?adapter={adapter}")
        page.click("tbody a[href^='/incidents/']")
        _shoot(page, into / "incident.png")
        page.goto(f"{dashboard}/routes/{adapter}")
        _shoot(page, into / "fallback.png")


def _shoot(page: Page, to: Path) -> None:
    page.screenshot(path=to, animations="disabled")
    if to.stat().st_size > LARGEST:
        raise SystemExit(f"{to.name} has {to.stat().st_size:,} bytes, more than {LARGEST:,}")


def main() -> None:
    """Play the demo until traffic has moved, and draw its pages."""
    with open_stage(Narrator()) as stage:
        healthy(stage)
        until_moved(stage)
        draw(stage.dashboard.rstrip("/"), stage.key, adapter="support", into=PICTURES)
    OF_PAGES.write_text(f"{hash_of_pages()}\n")


if __name__ == "__main__":
    main()
