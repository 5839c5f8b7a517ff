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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from monitor.domain import Scope
from monitor.outbox.channels import ChannelFacts
from monitor.postgres import EmbeddedPostgres
from monitor.store import schema
from monitor.store.database import Database
from tests.browser import chromium
from tests.clocks import ShiftedDatabase
from tests.serving import Serving, serving
from tests.web.conftest import SLOW
from tests.web.filled import fill

NOW: Final = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
WRITTEN: Final = NOW - timedelta(minutes=2)
"""When the database believes to be filled."""
MISSING: Final = "what is not there"
FAILED: Final = "what fails"
EMPTY: Final = "the first steps"
STATES: Final = ("blind", "canary", "fleet", "resolved")
"""Kinds of incidents beside the page about drift."""
KEPT: Final = Path(__file__).parent / "views"
SCALE: Final = 0.25
"""Device pixels of a kept picture to one of the page: shapes are compared, not letters."""
BLOCK: Final = 12
"""Pixels of a kept picture, 48 of the page: as much as is compared at once."""
MOST_MOVED: Final = 60.0
"""Largest difference of a block's mean grey, of 255."""


class View(NamedTuple):
    """The width of a window, in pixels of a page, and the reader's colours."""

    width: int
    scheme: Literal["light", "dark"]


HEIGHTS: Final = {1440: 900, 390: 844}
"""Of a window, by its width."""
SCHEMES: Final[Sequence[Literal["light", "dark"]]] = ("light", "dark")
VIEWS: Final = [View(width, scheme) for width in HEIGHTS for scheme in SCHEMES]
EVERY_RULE: Final = {"resultTypes": ["violations"]}
COLOURS: Final = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
"""The rule of axe that a dark page may break where the same page in light keeps it."""


class StandingClock:
    """Always the same time; while ``broken``, pages that need one fail."""

    broken = False

    def __call__(self) -> datetime:
        if self.broken:
            raise RuntimeError("no time")
        return NOW


@dataclass(frozen=True, kw_only=True)
class Tour:
    """A service without anything, which a tour fills when the first steps were seen."""

    service: Serving
    clock: StandingClock

    def places(self, page: Page) -> Iterator[tuple[str, View]]:
        """Open every page, and give the template of its route or what it shows, in every view."""
        yield from self._views(page, EMPTY, "/")
        for template, place in _places(self.service).items():
            yield from self._views(page, template, place)

    def _views(self, page: Page, template: str, place: str) -> Iterator[tuple[str, View]]:
        for width, height in HEIGHTS.items():
            page.set_viewport_size({"width": width, "height": height})
            self.clock.broken = template == FAILED
            page.goto(self.service.url + place)
            self.clock.broken = False
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                yield template, View(width, scheme)


@pytest.fixture
def tour(database: Database, tmp_path: Path) -> Iterator[Tour]:
    with touring(database, tmp_path) as ready:
        yield ready


@contextmanager
def touring(database: Database, folder: Path) -> Iterator[Tour]:
    clock = StandingClock()
    shifted = ShiftedDatabase(database)
    shifted.date_rows()
    shifted.move(WRITTEN - datetime.now(UTC))
    channels = [
        ChannelFacts(name=name, kind="webhook") for name in ("oncall-pagerduty", "team-webhook")
    ]
    with serving(database, folder, clock=clock, known_channels=channels) as service:
        yield Tour(service=service, clock=clock)


def _places(service: Serving) -> Mapping[str, str]:
    with service.database.begin() as tx:
        filled = fill(tx, now=NOW)
    report, tried, told = filled.report, filled.tried, filled.told
    return {
        "/": "/",
        "/adapters/{adapter}": "/adapters/support?signal=mean_nll",
        "/adapters/{adapter}/requests": "/adapters/search-rewrite/requests?order=least_similar",
        "/adapters/{adapter}/report/{number}": f"/adapters/support/report/{report}",
        "/adapters/{adapter}/versions": "/adapters/support/versions",
        "/audit": "/audit",
        "/budget": "/budget",
        "/canaries": "/canaries",
        "/canaries/new": f"/canaries/new?of={tried['running']}",
        "/canaries/{canary}": f"/canaries/{tried['running']}",
        "/channels": "/channels",
        "/docs": "/docs",
        "/incidents": "/incidents",
        "/incidents/{incident}": f"/incidents/{told['drift']}",
        **{f"/incidents/{{incident}} {kind}": f"/incidents/{told[kind]}" for kind in STATES},
        "/keys": "/keys",
        "/login": "/login",
        "/references": "/references",
        "/routes": "/routes",
        "/routes/{adapter}": "/routes/support",
        "/runbooks": "/runbooks",
        "/runbooks/{name}": "/runbooks/detector-errors",
        "/settings": "/settings",
        "/silences": "/silences",
        MISSING: "/adapters/nobody",
        FAILED: "/routes",
    }


def test_the_tour_leaves_no_page_out(tour: Tour) -> None:
    templates = {
        route.path
        for route in tour.service.app.routes
        if isinstance(route, APIRoute)
        and "GET" in (route.methods or ())
        and route.endpoint.__module__.startswith("monitor.web")
    }
    drawn = "/adapters/{adapter}/report/{number}/{form}"  # by Evidently
    elsewhere = {one for one in templates if one.startswith("/assets")} | {drawn}
    of_routes = {one.split()[0] for one in _places(tour.service) if one.startswith("/")}
    assert templates - elsewhere == of_routes


def test_pages_are_accessible_and_look_as_they_did(
    browser: Browser, tour: Tour, tmp_path: Path
) -> None:
    seen: dict[View, dict[str, NDArray[np.uint8]]] = {view: {} for view in VIEWS}
    wrong = {}
    complaints: list[str] = []
    with _logged_in(browser, tour.service) as page:
        page.on("console", lambda one: _heard(one, page, complaints))
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        for template, view in tour.places(page):
            seen[view][template] = _picture(page)
            options = COLOURS if view.scheme == "dark" else EVERY_RULE
            found = Axe().run(page, options=options).response["violations"]
            if found:
                wrong[template, view] = [
                    (one["id"], one["nodes"][0]["html"][:200]) for one in found
                ]
        fonts = _fonts(page)
    assert wrong == {}
    expected = ("404 (Not Found)", "500 (Internal Server Error)")
    assert [one for one in complaints if not any(map(one.count, expected))] == []
    kept = json.loads((KEPT / "pages.json").read_text())
    if (kept["browser"], kept["fonts"]) != (browser.version, fonts):
        pytest.skip(f"browser or fonts are not those of the kept pictures: {fonts}")
    moved = {}
    for view, pictures in seen.items():
        assert kept["pages"] == list(pictures)
        before = _apart(Image.open(_sheet(view)), kept["heights"][_sheet(view).stem])
        for (template, now), was in zip(pictures.items(), before, strict=True):
            if (differs := _difference(now, was)) > MOST_MOVED:
                moved[template, view] = round(differs)
        _keep(list(pictures.values()), tmp_path / _sheet(view).name)
    assert moved == {}, f"look at {tmp_path}, then `python -m tests.web.test_every_page`"


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
def _logged_in(browser: Browser, service: Serving) -> Iterator[Page]:
    context = browser.new_context(
        device_scale_factor=SCALE,
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
    shot = page.screenshot(animations="disabled", caret="hide", full_page=True)
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
    if abs(len(now) - len(was)) > BLOCK or now.shape[1] != was.shape[1]:
        return 255.0
    high = min(len(now), len(was)) // BLOCK * BLOCK
    wide = now.shape[1] // BLOCK * BLOCK
    apart = now[:high, :wide].astype(float) - was[:high, :wide]
    blocks = apart.reshape(high // BLOCK, BLOCK, wide // BLOCK, BLOCK).mean(axis=(1, 3))
    return float(np.abs(blocks).max())


def _sheet(view: View) -> Path:
    return KEPT / f"{view.width}-{view.scheme}.png"


def _keep(pictures: Sequence[NDArray[np.uint8]], to: Path) -> None:
    """Write one picture above the other, in 16 greys."""
    Image.fromarray(np.vstack(pictures) // 16 * 17).save(to, optimize=True)


def _apart(sheet: Image.Image, heights: Sequence[int]) -> list[NDArray[np.uint8]]:
    return np.split(np.asarray(sheet.convert("L")), np.cumsum(heights)[:-1])


def main() -> None:
    """Keep what every page looks like now."""
    KEPT.mkdir(exist_ok=True)
    pictures: dict[View, dict[str, NDArray[np.uint8]]] = {view: {} for view in VIEWS}
    with (
        sync_playwright() as driver,
        chromium(driver) as browser,
        _fresh_tour() as tour,
        _logged_in(browser, tour.service) as page,
    ):
        for template, view in tour.places(page):
            pictures[view][template] = _picture(page)
        facts: dict[str, Any] = {"browser": browser.version, "fonts": _fonts(page)}
    for view, seen in pictures.items():
        _keep(list(seen.values()), _sheet(view))
    facts["pages"] = list(pictures[VIEWS[0]])
    facts["heights"] = {
        _sheet(view).stem: [len(one) for one in seen.values()] for view, seen in pictures.items()
    }
    (KEPT / "pages.json").write_text(json.dumps(facts, indent=1) + "\n")


@contextmanager
def _fresh_tour() -> Iterator[Tour]:
    """Tour a service of its own, as the first steps show only while there is nothing."""
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedPostgres(Path(name) / "server") as server,
    ):
        database = Database(server.url)
        schema.migrate(database)
        with touring(database, Path(name)) as tour:
            yield tour
        database.close()


if __name__ == "__main__":
    main()
