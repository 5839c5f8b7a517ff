"""The columns of the heat map: Driftline's ticket and page, then every other tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.adapters.clients import FRESH
from benchmarks.adapters.contestants.experiment import WINDOW
from benchmarks.adapters.page.results import Repeat, Results, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Who is asked, and what it did with an experiment; None: it was not run."""

    title: str
    did: Callable[[Repeat], Did | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Did:
    """Requests to the alarm, None for none, and alarms before the break, None: not its own.

    ``healthy`` is the number of requests that those alarms could come in. ``looked`` is false if
    the broken version answered less than a window: traffic was moved, or clients hung up.
    """

    requests: int | None
    false_before: int | None
    healthy: int
    looked: bool = True


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
    ours = [Column(title="Driftline: told", did=_told), Column(title="Driftline: page", did=_paged)]
    return ours + [_column(slug, tool.tool) for slug, tool in results.tools.items()]


def cell(way: Way, column: Column) -> Cell:
    """Ask a column about a way: the median over all experiments, silent ones as endless."""
    each = (column.did(one) for one in way.repeats)
    asked = [did.requests for did in each if did is not None and did.looked]
    known = [requests for requests in asked if requests is not None]
    mostly = bool(known) and 2 * len(known) > len(asked)
    endless = [float("inf") if requests is None else float(requests) for requests in asked]
    return Cell(seen=len(known), of=len(asked), requests=median(endless) if mostly else None)


def false_alarms(ways: Sequence[Way], column: Column) -> tuple[int, int] | None:
    """Alarms before the break and the healthy requests they came in; None: not counted."""
    counted = [
        (did.false_before, did.healthy)
        for way in ways
        for one in way.repeats
        if (did := column.did(one)) is not None and did.false_before is not None
    ]
    if not counted:
        return None
    return sum(count for count, _ in counted), sum(calm for _, calm in counted)


def _told(one: Repeat) -> Did:
    first = one.driftline.first
    return Did(
        requests=first.requests if first else None,
        false_before=one.driftline.false_before,
        healthy=min(one.calm, FRESH),  # the others before them were answered once for all
    )


def _paged(one: Repeat) -> Did:
    page = one.driftline.page
    return Did(requests=page.requests if page else None, false_before=None, healthy=0)


def _column(slug: str, title: str) -> Column:
    def did(one: Repeat) -> Did | None:
        seen = one.tools.get(slug)
        if seen is None:
            return None
        looked = seen.requests is not None or one.broken >= WINDOW
        return Did(
            requests=seen.requests,
            false_before=seen.false_before,
            healthy=one.calm,
            looked=looked,
        )

    return Column(title=title, did=did)
