"""The documentation site: everything is in its navigation, it builds, and loads nothing."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from release.site import SITE, linked, pages, stage
from tests.docs.pages import PAGES, ROOT

CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\s(?:src|href)=[\"']?(https?:[^\"' >]+)"
)


def named(nav: list[Any]) -> Iterator[str]:
    """Give the paths of a navigation, in its order."""
    for entry in nav:
        for what in entry.values():
            yield from [what] if isinstance(what, str) else named(what)


def test_every_page_is_in_the_navigation_once_and_no_other() -> None:
    found = list(named(CONFIG["nav"]))
    assert sorted(found) == sorted(str(page.relative_to(ROOT)) for page in PAGES)


def test_the_order_is_tutorial_how_to_reference_explanation() -> None:
    titles = [title for entry in CONFIG["nav"] for title in entry]
    assert titles == ["Driftline", "Tutorial", "How to", "Reference", "Explanation"]


def test_what_pages_link_to_is_at_the_same_place_on_the_site(tmp_path: Path) -> None:
    stage(tmp_path)
    staged = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    wanted = {*pages(), *(to for page in pages() for to in linked(page))}
    assert staged == {path.relative_to(ROOT) for path in wanted}
    assert Path("config.toml") in staged
    for page in (one for one in staged if one.suffix == ".md"):
        for to in linked(tmp_path / page):
            assert to.is_file(), f"{page}: {to}"


def test_it_builds_without_a_warning_and_no_page_loads_anything_from_elsewhere() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "release.site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    built = list(SITE.rglob("*.html"))
    assert len(built) > len(PAGES)  # and the page of what is not found
    foreign = {
        address for page in built for address in LOADED.findall(page.read_text(encoding="utf-8"))
    }
    assert foreign == set()
    assert (SITE / "search.json").stat().st_size > 100_000
