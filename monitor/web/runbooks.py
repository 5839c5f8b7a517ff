"""The runbooks of ``docs/runbooks`` as pages: instructions for each message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from markupsafe import Markup

INSTALLED: Final = Path(__file__).parent / "runbooks"
"""Folder of the runbooks in a wheel; a checkout has them in its docs."""
IN_A_CHECKOUT: Final = Path(__file__).parents[2] / "docs" / "runbooks"
TO_ANOTHER: Final = re.compile(r"\(([a-z_-]+)\.md\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """One page, ready to be shown. ``html`` comes from our own files only."""

    name: str
    title: str
    html: Markup


@cache
def read_runbooks() -> Mapping[str, Runbook]:
    """Read and render all of them, by name (``blame-adapter``, ``detector-entropy``); once."""
    folder = INSTALLED if INSTALLED.is_dir() else IN_A_CHECKOUT
    return {one.name: one for one in _rendered(folder)}


def _rendered(folder: Path) -> Iterator[Runbook]:
    from markdown_it import MarkdownIt  # imported late: it takes .1 s, and few read a runbook

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    for page in sorted(folder.glob("*.md")):
        heading, _, body = page.read_text(encoding="utf-8").partition("\n")
        text = TO_ANOTHER.sub(r"(/runbooks/\1)", body)
        # what is wider than a phone can be scrolled by keyboard
        html = markdown.render(text).replace("<pre>", '<pre tabindex="0">')
        yield Runbook(
            name=page.stem,
            title=heading.lstrip("# ").replace("`", ""),
            html=Markup(html),  # noqa: S704 - the package's own pages
        )
