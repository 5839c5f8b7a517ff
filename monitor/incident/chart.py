"""Draw an incident's signals as SVG: one row for each, all on one time axis. Pure.

Colours are presentation attributes, which a strict content policy permits and which a page's style
sheet overrides through the classes beside them. So one drawing serves as part of a page, light or
dark, and as an image of its own. All text from users is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from monitor.incident.signals import Chart, ChartMark, Signal
from monitor.incident.visible import visible

ROW: Final = 74
TITLE: Final = 20
"""Pixels above each row for its name and newest number."""
TOP: Final = 56
BOTTOM: Final = 46
LEFT: Final = 46
RIGHT: Final = 12
LETTER: Final = 6.4
"""The approximate width in pixels of a letter of 11 px."""
LINE: Final = 12
LONGEST_LABEL: Final = 26
INK: Final = {
    "critical": "#b3192b",
    "drifting": "#955400",
    "error": "#7a2aa8",
    "blind": "#8a3d73",
    "route": "#0b7f8a",
    "declared": "#5b3fd6",
    "stable": "#1b7340",
    "ink": "#16191d",
    "soft": "#56606b",
}
STEPS: Final = (
    *(timedelta(seconds=n) for n in (1, 2, 5, 10, 15, 30)),
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=n) for n in (1, 2, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 4, 7)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The scales of one row: from times and effects to pixels."""

    since: datetime
    until: datetime
    width: float
    top: float
    largest: float
    smallest: float

    def x(self, at: datetime) -> float:
        share = (at - self.since) / (self.until - self.since)
        return LEFT + min(1.0, max(0.0, share)) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        held = min(self.largest, max(self.smallest, value))
        return self.top + (self.largest - held) / (self.largest - self.smallest) * ROW


def draw(chart: Chart, *, width: int = 860) -> str:
    """Write the SVG; ``width`` is in pixels, the height follows from the signals.

    Each row shows the effect, its 95 % interval, the margin within which nothing is done, and the
    band in which the change began.
    """
    height = TOP + len(chart.signals) * (TITLE + ROW) + BOTTOM
    title = _text(LEFT, 14, visible(chart.title), kind="ink title", size=13, bold=True)
    if chart.signals:
        drawn = [*_rows(chart, width), *_marks(chart, width, height), *_axis(chart, width, height)]
    else:
        drawn = [_text(LEFT, TOP + 14, "no scores in this time")]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="signals" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img" aria-label={quoteattr(_said(chart))}'
        ' font-family="system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif">'
    )
    paper = _tag("rect", "paper", width=width, height=height, fill="#ffffff")
    return "".join([head, paper, title, *drawn, "</svg>"])


def _said(chart: Chart) -> str:
    names = ", ".join(signal.words for signal in chart.signals) or "no signals"
    return f"Effects over time of {visible(chart.title)}: {visible(names)}"


def _rows(chart: Chart, width: int) -> Iterator[str]:
    for number, signal in enumerate(chart.signals):
        top = TOP + number * (TITLE + ROW) + TITLE
        smallest, largest = _range(signal)
        frame = _Frame(
            since=chart.since,
            until=chart.until,
            width=width,
            top=top,
            largest=largest,
            smallest=smallest,
        )
        yield from _row(chart, signal, frame)


def _range(signal: Signal) -> tuple[float, float]:
    """Return the range of a row: the effects and the margin; wide intervals are cut."""
    reach = 1.3 * max(signal.margin, *(abs(one) for one in signal.effect))
    low = min(-1.3 * signal.margin, *(max(one, -reach) for one in signal.low))
    high = max(1.3 * signal.margin, *(min(one, reach) for one in signal.high))
    return low, high


def _row(chart: Chart, signal: Signal, frame: _Frame) -> Iterator[str]:
    right = frame.width - RIGHT
    if chart.onset is not None:
        start, end = frame.x(chart.onset.start), frame.x(chart.onset.end)
        wide = max(2.0, end - start)
        yield _tag(
            "rect", "onset", x=start, y=frame.top, width=wide, height=ROW,
            fill="#c07a00", fill_opacity=0.25,
        )  # fmt: skip
    high, low = frame.y(signal.margin), frame.y(-signal.margin)
    yield _tag(
        "rect", "margin", x=LEFT, y=high, width=right - LEFT, height=low - high,
        fill="#1b7340", fill_opacity=0.12,
    )  # fmt: skip
    apart = low - high > 2 * LINE  # else their numbers would overlap
    for value in (0.0, signal.margin, -signal.margin) if apart else (0.0,):
        y = frame.y(value)
        yield _tag("line", "rule", x1=LEFT, x2=right, y1=y, y2=y, stroke="#dfe3e8")
        yield _text(LEFT - 5, y + 4, _number(value, signal), anchor="end")
    yield from _curve(signal, frame)
    yield from _heading(signal, frame.top - 6, right)


def _curve(signal: Signal, frame: _Frame) -> Iterator[str]:
    """Draw the effect, with its interval behind it."""
    over, under, points = (
        [f"{frame.x(at):.1f},{frame.y(one):.1f}" for at, one in zip(signal.at, line, strict=True)]
        for line in (signal.high, signal.low, signal.effect)
    )
    corners = " ".join([*over, *reversed(under)])
    yield _tag("polygon", "between", points=corners, fill="#1d5fd1", fill_opacity=0.18)
    if len(points) > 1:
        yield _tag(
            "polyline", "effect", points=" ".join(points), fill="none", stroke="#1d5fd1",
            stroke_width=1.8, stroke_linejoin="round",
        )  # fmt: skip
    else:
        x, y = frame.x(signal.at[0]), frame.y(signal.effect[0])
        yield _tag("circle", "dot", cx=x, cy=y, r=3, fill="#1d5fd1")


def _heading(signal: Signal, y: float, right: float) -> Iterator[str]:
    newest = (
        f"{_number(signal.effect[-1], signal)}"
        f" [{_number(signal.low[-1], signal)}, {_number(signal.high[-1], signal)}]"
    )
    kind = "critical" if signal.crossed else "ink"
    room = int((right - LEFT) / LETTER) - len(newest) - 2
    yield _text(LEFT, y, _short(visible(signal.words), room), kind=kind, bold=True)
    yield _text(right, y, newest, kind=kind, anchor="end")


def _marks(chart: Chart, width: int, height: int) -> Iterator[str]:
    frame = _frame_of_time(chart, width)
    lanes: tuple[list[tuple[float, float]], ...] = ([], [], [])
    # verdicts and routes go first: titles of changes are long, and are listed beside the chart
    for mark in sorted(chart.marks, key=lambda one: (one.kind == "declared", one.at)):
        x, kind = frame.x(mark.at), mark.kind if mark.kind in INK else "soft"
        dashes = {} if kind in {"critical", "drifting"} else {"stroke_dasharray": "3 3"}
        yield _tag(
            "line", f"mark {kind}", x1=x, x2=x, y1=TOP, y2=height - BOTTOM, stroke=INK[kind],
            stroke_width=1.5, **dashes,
        )  # fmt: skip
        yield from _label(mark, x, lanes, width=width, kind=kind)


def _label(
    mark: ChartMark, x: float, lanes: Sequence[list[tuple[float, float]]], *, width: int, kind: str
) -> Iterator[str]:
    """Write a mark's words above it, in the first lane where they fit; else leave them out."""
    words = _short(visible(mark.text), LONGEST_LABEL)
    wide = len(words) * LETTER
    start = min(max(LEFT, x - wide / 2), width - RIGHT - wide)
    for lane, taken in enumerate(lanes):
        if all(start > other_end + 4 or start + wide < other - 4 for other, other_end in taken):
            taken.append((start, start + wide))
            yield _text(start, TOP - 2 - LINE * lane, words, kind=kind)
            return


def _axis(chart: Chart, width: int, height: int) -> Iterator[str]:
    frame = _frame_of_time(chart, width)
    base = height - BOTTOM
    for at in _ticks(chart.since, chart.until, most=max(2, (width - LEFT) // 110)):
        x = frame.x(at)
        yield _tag("line", "rule", x1=x, x2=x, y1=base, y2=base + 4, stroke="#98a3b0")
        inside = x < width - RIGHT - 2 * LETTER
        yield _text(x, base + 16, _clock(at, chart), anchor="middle" if inside else "end")
    legend = "UTC · line: effect, 95 % interval · green: below the margin"
    if chart.onset is not None:
        legend += " · amber: when it began"
    for number, line in enumerate(_folded(legend, int((width - LEFT) / LETTER))):
        yield _text(LEFT, base + 31 + LINE * number, line)


def _folded(words: str, room: int) -> list[str]:
    if len(words) <= room:
        return [words]
    parts = words.split(" · ")
    half = (len(parts) + 1) // 2
    return [" · ".join(parts[:half]), " · ".join(parts[half:])]


def _frame_of_time(chart: Chart, width: int) -> _Frame:
    return _Frame(
        since=chart.since, until=chart.until, width=width, top=0.0, largest=1.0, smallest=0.0
    )


def _ticks(since: datetime, until: datetime, *, most: int) -> list[datetime]:
    """Return round times in the interval, ``most`` steps at most."""
    step = next((one for one in STEPS if (until - since) / one <= most), STEPS[-1])
    midnight = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + math.ceil((since - midnight) / step) * step
    return [first + n * step for n in range(math.floor((until - first) / step) + 1)]


def _clock(at: datetime, chart: Chart) -> str:
    span = chart.until - chart.since
    utc = at.astimezone(UTC)
    if span < timedelta(minutes=10):
        return f"{utc:%H:%M:%S}"
    midnight = utc.hour == utc.minute == 0
    return f"{utc.day} {utc:%b}" if midnight or span > timedelta(days=4) else f"{utc:%H:%M}"


def _number(value: float, signal: Signal) -> str:
    if value == 0:
        return "0"
    return f"{100 * value:+.3g} %" if signal.share else f"{value:+.2f}"


def _short(words: str, longest: int) -> str:
    return words if len(words) <= longest else f"{words[: max(1, longest - 1)]}…"


def _text(
    x: float,
    y: float,
    words: str,
    *,
    kind: str = "soft",
    anchor: str = "start",
    size: int = 11,
    bold: bool = False,
) -> str:
    weight = {"font_weight": 600} if bold else {}
    start = _tag(
        "text",
        kind,
        x=x,
        y=y,
        fill=INK[kind.split(maxsplit=1)[0]],
        font_size=size,
        text_anchor=anchor,
        **weight,
    )
    return f"{start.removesuffix('/>')}>{escape(words)}</text>"


def _tag(name: str, kind: str, /, **attributes: float | str) -> str:
    written = " ".join(
        f'{key.replace("_", "-")}="{value if isinstance(value, str) else f"{value:.4g}"}"'
        for key, value in attributes.items()
    )
    return f'<{name} class="{kind}" {written}/>'
