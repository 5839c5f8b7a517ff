"""The Markdown pages, their headings and their tables."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """Leave the code blocks out."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def headings(page: Path) -> list[str]:
    return [line.lstrip("#").strip() for line in prose(page).splitlines() if line.startswith("#")]


def anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them: lower case, no punctuation, spaces are hyphens."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(page)
    }


def section(page: str, heading: str) -> str:
    """Give what stands below a heading, up to the next one of the same depth."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text(page), re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/{page} has no heading '## {heading}'"
    return found[1]


def rows(table: str) -> Iterator[list[str]]:
    """Cells of every table row that begins with code."""
    for line in table.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
