"""The columns of the heat map: Driftline's ticket and page, then every other tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.adapters.page.results import Repeat, Results, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Who is asked: requests to the alarm, None for none, and alarms before the break.

    Both are None where it was not run.
    """

    title: str
    requests: Callable[[Repeat], int | None]
    false_before: Callable[[Repeat], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A way and a column: how many of its experiments alarmed, and after how many requests."""

    seen: int
    of: int
    requests: float | None

    @property
    def words(self) -> str:
        if not self.of:
            return ""
        if self.requests is None:
            return f"{self.seen}/{self.of}" if self.seen else "-"
        share = "" if self.seen == self.of else f" ({self.seen}/{self.of})"
        return f"{self.requests:.0f}{share}"


def columns(results: Results) -> list[Column]:
    """All columns, Driftline's first."""
    ours = [
        Column(title="Driftline: told", requests=_told, false_before=_false),
        Column(title="Driftline: page", requests=_page, false_before=lambda _: None),
    ]
    return ours + [_tool(slug, tool.tool) for slug, tool in results.tools.items()]


def cell(way: Way, column: Column) -> Cell:
    """Ask a column about a way: the median over all experiments, silent ones as endless."""
    asked = [one for one in way.repeats if _was_run(column, one)]
    known = sorted(seen for one in asked if (seen := column.requests(one)) is not None)
    middle = known and 2 * len(known) > len(asked)
    endless = [*map(float, known), *[float("inf")] * (len(asked) - len(known))]
    requests = median(endless) if middle else None
    return Cell(seen=len(known), of=len(asked), requests=requests)


def false_alarms(ways: Sequence[Way], column: Column) -> tuple[int, int] | None:
    """Alarms before the break and the healthy requests they came in; None: not counted."""
    counted = [
        (count, one.calm)
        for way in ways
        for one in way.repeats
        if (count := column.false_before(one)) is not None
    ]
    if not counted:
        return None
    return sum(count for count, _ in counted), sum(calm for _, calm in counted)


def _was_run(column: Column, one: Repeat) -> bool:
    return column.requests is _page or column.false_before(one) is not None


def _told(one: Repeat) -> int | None:
    first = one.driftline.first
    return first and first.requests


def _page(one: Repeat) -> int | None:
    page = one.driftline.page
    return page and page.requests


def _false(one: Repeat) -> int | None:
    return one.driftline.false_before


def _tool(slug: str, title: str) -> Column:
    def requests(one: Repeat) -> int | None:
        seen = one.tools.get(slug)
        return seen and seen.requests

    def false_before(one: Repeat) -> int | None:
        seen = one.tools.get(slug)
        return seen and seen.false_before

    return Column(title=title, requests=requests, false_before=false_before)
