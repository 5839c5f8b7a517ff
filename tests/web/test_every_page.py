"""Every page, wide and narrow, light and dark: axe finds nothing, and it looks as it did.

``python -m tests.web.test_every_page`` keeps what the pages look like now, for a person to
compare. Pictures differ with the fonts of a machine: where those are others, none is compared.
"""

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from monitor.domain import Scope
from monitor.postgres import EmbeddedPostgres
from monitor.store import schema
from monitor.store.database import Database
from monitor.store.incidents import incidents
from tests.serving import Serving, serving
from tests.web import moves, trials
from tests.web.conftest import SLOW, chromium

NOW: Final = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
MISSING: Final = "what is not there"
KEPT: Final = Path(__file__).parent / "views"
SCALE: Final = 0.25
"""Device pixels of a kept picture to one of the page: shapes are compared, not letters."""
BLOCK: Final = 12
"""Pixels of a kept picture, 48 of the page: as much as is compared at once."""
MOST_MOVED: Final = 60.0
"""Largest difference of a block's mean grey, of 255."""


class View(NamedTuple):
    """The size of a window, in pixels of a page, and the reader's colours."""

    width: int
    height: int
    scheme: str


VIEWS: Final = [
    View(1440, 900, "light"),
    View(1440, 900, "dark"),
    View(390, 844, "light"),
    View(390, 844, "dark"),
]


@dataclass(frozen=True, kw_only=True)
class Toured:
    """A service in which every page has something to show, and where each page is."""

    service: Serving
    places: Mapping[str, str]
    """An address by the template of its route."""


@pytest.fixture
def toured(database: Database, tmp_path: Path) -> Iterator[Toured]:
    with serving(database, tmp_path, clock=lambda: NOW) as service:
        yield Toured(service=service, places=_places(service))


def _places(service: Serving) -> Mapping[str, str]:
    with service.database.begin() as tx:
        moves.seed(tx, now=NOW)
        tried = trials.seed(tx, now=NOW)
        (paged,) = (one for one in incidents.incident_list(tx) if one.adapter == "support")
    return {
        "/": "/",
        "/adapters/{adapter}": "/adapters/support",
        "/adapters/{adapter}/versions": "/adapters/support/versions",
        "/audit": "/audit",
        "/budget": "/budget",
        "/canaries": "/canaries",
        "/canaries/new": f"/canaries/new?of={tried['running']}",
        "/canaries/{canary}": f"/canaries/{tried['running']}",
        "/channels": "/channels",
        "/docs": "/docs",
        "/incidents": "/incidents",
        "/incidents/{incident}": f"/incidents/{paged.id}",
        "/keys": "/keys",
        "/login": "/login",
        "/routes": "/routes",
        "/routes/{adapter}": "/routes/support",
        "/runbooks": "/runbooks",
        "/runbooks/{name}": "/runbooks/detector-errors",
        "/settings": "/settings",
        "/silences": "/silences",
        MISSING: "/adapters/nobody",
    }


def test_the_tour_leaves_no_page_out(toured: Toured) -> None:
    templates = {
        route.path
        for route in _routes(toured.service.app.routes)
        if "GET" in (route.methods or ()) and route.endpoint.__module__.startswith("monitor.web")
    }
    elsewhere = {one for one in templates if one.startswith(("/assets", "/adapters/{adapter}/rep"))}
    assert elsewhere  # assets are no pages, and reports have tests of their own
    assert templates - elsewhere == set(toured.places) - {MISSING}


@pytest.mark.parametrize("view", VIEWS)
def test_pages_are_accessible_and_look_as_they_did(
    browser: Browser, toured: Toured, view: View, tmp_path: Path
) -> None:
    seen = {}
    wrong = {}
    complaints: list[str] = []
    with _logged_in(browser, toured.service, view) as page:
        page.on("console", lambda one: _heard(one, page, complaints))
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        for template, place in toured.places.items():
            page.goto(toured.service.url + place)
            seen[template] = _picture(page)
            found = Axe().run(page).response["violations"]
            if found:
                wrong[template] = [(one["id"], one["nodes"][0]["html"][:200]) for one in found]
        fonts = _fonts(page)
    assert wrong == {}
    assert [one for one in complaints if "404 (Not Found)" not in one] == []
    kept = json.loads((KEPT / "pages.json").read_text())
    if (kept["browser"], kept["fonts"]) != (browser.version, fonts):
        pytest.skip(f"browser or fonts are not those of the kept pictures: {fonts}")
    assert kept["pages"] == list(seen)
    before = _apart(Image.open(_sheet(view)), len(seen))
    moved = {
        template: round(differs)
        for (template, now), was in zip(seen.items(), before, strict=True)
        if (differs := _difference(now, was)) > MOST_MOVED
    }
    _keep(list(seen.values()), tmp_path / _sheet(view).name)
    assert moved == {}, f"look at {tmp_path}, then `python -m tests.web.test_every_page`"


def _routes(found: Sequence[object]) -> Iterator[APIRoute]:
    for one in found:
        if isinstance(one, APIRoute):
            yield one
        elif included := getattr(one, "original_router", None):
            yield from _routes(included.routes)


def test_a_moved_button_counts_and_another_letter_does_not() -> None:
    page = np.full((225, 360), 250, np.uint8)
    letter, button = page.copy(), page.copy()
    letter[100:102, 50:53] = 0
    button[100:108, 50:75] = 0
    assert _difference(page, letter) < MOST_MOVED < _difference(page, button)


def _heard(message: ConsoleMessage, page: Page, complaints: list[str]) -> None:
    if message.type in {"error", "warning"}:
        complaints.append(f"{page.url}: {message.text}")


@contextmanager
def _logged_in(browser: Browser, service: Serving, view: View) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height},
        device_scale_factor=SCALE,
        color_scheme=view.scheme,  # type: ignore[arg-type]
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(SLOW)
    page.goto(f"{service.url}/login")
    page.fill("#key", service.keys[Scope.ADMIN])
    page.click("button[type=submit]")
    page.wait_for_url(f"{service.url}/")
    yield page
    context.close()


def _picture(page: Page) -> NDArray[np.uint8]:
    shot = page.screenshot(animations="disabled", caret="hide")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("L"))


def _fonts(page: Page) -> list[float]:
    """Return the widths of a text in the fonts of the pages."""
    measure = """family => {
        const context = document.createElement("canvas").getContext("2d");
        context.font = `100px ${family}`;
        return Math.round(context.measureText("Driftline: 0123 %").width);
    }"""
    style = "name => getComputedStyle(document.querySelector(name)).fontFamily"
    return [
        page.evaluate(measure, family) for family in (page.evaluate(style, "body"), "monospace")
    ]


def _difference(now: NDArray[np.uint8], was: NDArray[np.uint8]) -> float:
    """Return by how much the block that changed most differs in its mean, 0 to 255."""
    if now.shape != was.shape:
        return 255.0
    high, wide = (side // BLOCK * BLOCK for side in now.shape)
    apart = now[:high, :wide].astype(float) - was[:high, :wide]
    blocks = apart.reshape(high // BLOCK, BLOCK, wide // BLOCK, BLOCK).mean(axis=(1, 3))
    return float(np.abs(blocks).max())


def _sheet(view: View) -> Path:
    return KEPT / f"{view.width}-{view.scheme}.png"


def _keep(pictures: Sequence[NDArray[np.uint8]], to: Path) -> None:
    """Write one picture above the other, in 16 greys."""
    Image.fromarray(np.vstack(pictures) // 16 * 17).save(to, optimize=True)


def _apart(sheet: Image.Image, count: int) -> list[NDArray[np.uint8]]:
    return np.split(np.asarray(sheet.convert("L")), count)


def main() -> None:
    """Keep what every page looks like now."""
    KEPT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedPostgres(Path(name) / "server") as server,
        sync_playwright() as driver,
        chromium(driver) as browser,
    ):
        version = browser.version
        database = Database(server.url)
        schema.migrate(database)
        with serving(database, Path(name), clock=lambda: NOW) as service:
            places = _places(service)
            for view in VIEWS:
                with _logged_in(browser, service, view) as page:
                    pictures = []
                    for place in places.values():
                        page.goto(service.url + place)
                        pictures.append(_picture(page))
                    _keep(pictures, _sheet(view))
                    fonts = _fonts(page)
        database.close()
    facts = {"browser": version, "fonts": fonts, "pages": list(places)}
    (KEPT / "pages.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
