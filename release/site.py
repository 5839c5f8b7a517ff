"""Build the documentation site: ``python -m release.site`` (``make site``).

The site keeps the repository's folders, so a link works alike on both. Every page is put into
``build/pages``, with the files that pages link to; Zensical then builds ``build/site`` and fails
on a link that leads nowhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = ROOT / "build" / "pages"
SITE: Final = ROOT / "build" / "site"

_LINK: Final = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)")


def pages() -> list[Path]:
    """Return every page of the repository."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def linked(page: Path) -> Iterator[Path]:
    """Yield the files that a page links to and that are no pages."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        to = (page.parent / unquote(target)).resolve()
        if to.suffix != ".md":
            yield to


def stage(into: Path) -> None:
    """Put the pages and what they link to into a folder, each at its own path."""
    shutil.rmtree(into, ignore_errors=True)
    found = pages()
    for one in {*found, *(to for page in found for to in linked(page))}:
        place = into / one.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(one, place)


def main() -> None:
    """Build the site; a warning fails the build."""
    stage(PAGES)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
