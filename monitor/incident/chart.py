"""Draw signals as SVG: one row for each, all on one time axis. Pure.

Colours are presentation attributes, which a strict content policy permits and which a page's style
sheet overrides through the classes beside them. So one drawing serves as part of a page, light or
dark, and as an image of its own. All text from users is escaped.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from monitor.incident.signals import Chart, ChartMark, Signal

ROW: Final = 74
TITLE: Final = 34
"""Pixels above each row for its name, its newest number and its unit."""
SLIM: Final = 500
"""In a narrower drawing the number has a line of its own."""
EVENTS: Final = 24
"""Pixels for events where no signal is shown."""
SPARK: Final = (150, 34)
"""Width and height of a signal drawn beside its name."""
TOP: Final = 66
BOTTOM: Final = 46
LEFT: Final = 62
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
    row: float = ROW
    left: float = LEFT
    right: float = RIGHT

    def x(self, at: datetime) -> float:
        share = (at - self.since) / (self.until - self.since)
        room = self.width - self.left - self.right
        return self.left + min(1.0, max(0.0, share)) * room

    def y(self, value: float) -> float:
        held = min(self.largest, max(self.smallest, value))
        return self.top + (self.largest - held) / (self.largest - self.smallest) * self.row


def draw(chart: Chart, *, width: int = 860, row: int = ROW) -> str:
    """Write the SVG; ``width`` is in pixels, the height follows from the signals.

    Each row shows the effect, its 95 % interval, the margin within which nothing is done, and the
    band in which the change began. Without signals it shows the events alone.
    """
    height = TOP + (len(chart.signals) * (_title(width) + row) or EVENTS) + BOTTOM
    title = _text(LEFT, 14, visible(chart.title), kind="ink title", size=13, bold=True)
    drawn = [
        *_unserved(chart, width, height),
        *_lasting(chart, width, height),
        *_marks(chart, width, height),
        *_rows(chart, width, row),
        *_axis(chart, width, height),
    ]
    if not chart.signals and not chart.marks:
        drawn.append(_text(LEFT, TOP + 14, "nothing happened in this time"))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="signals" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img" aria-label={quoteattr(_said(chart))}'
        ' font-family="system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif">'
    )
    paper = _tag("rect", "paper", width=width, height=height, fill="#ffffff")
    return "".join([head, paper, title, *drawn, "</svg>"])


def _said(chart: Chart) -> str:
    names = ", ".join(signal.words for signal in chart.signals) or "no signals"
    silence = f"; {visible(chart.silence)}" if chart.silence else ""
    return f"Signals over time of {visible(chart.title)}: {visible(names)}{silence}"


def spark(signal: Signal, *, since: datetime, until: datetime) -> str:
    """Write a small SVG of one signal, to stand beside its name and number."""
    width, height = SPARK
    smallest, largest = _range(signal)
    frame = _Frame(
        since=since, until=until, width=width, top=2, largest=largest, smallest=smallest,
        row=height - 4, left=1, right=1,
    )  # fmt: skip
    high, low = frame.y(signal.margin), frame.y(-signal.margin)
    head = f'<svg class="signals spark" viewBox="0 0 {width} {height}" aria-hidden="true">'
    band = _tag(
        "rect", "margin", x=0, y=high, width=width, height=low - high, fill=INK["stable"],
        fill_opacity=0.12,
    )  # fmt: skip
    return "".join([head, band, *_curve(signal, frame), "</svg>"])


def _lasting(chart: Chart, width: int, height: int) -> Iterator[str]:
    """Shade the time of what lasts: a change that is being rolled out."""
    frame = _frame_of_time(chart, width)
    for mark in chart.marks:
        if mark.until is not None and mark.until > mark.at:
            start, end = frame.x(mark.at), frame.x(min(mark.until, chart.until))
            yield _tag(
                "rect", "lasting", x=start, y=TOP, width=end - start, height=height - TOP - BOTTOM,
                fill=INK["declared"], fill_opacity=0.14,
            )  # fmt: skip


def _unserved(chart: Chart, width: int, height: int) -> Iterator[str]:
    """Shade the time in which the version answers nobody, and say so once."""
    if chart.unserved is None or not chart.signals:
        return
    start, end = _frame_of_time(chart, width).x(chart.unserved.since), width - RIGHT
    yield _tag(
        "rect", "unserved", x=start, y=TOP, width=end - start, height=height - TOP - BOTTOM,
        fill=INK["soft"], fill_opacity=0.1,
    )  # fmt: skip
    words, top = visible(chart.silence), TOP + _title(width) + LINE
    fits = len(words) * LETTER <= end - start
    who, _, when = words.rpartition(" since ")
    for number, line in enumerate([words] if fits else [who, f"since {when}"]):
        shown = _short(line, int((end - LEFT) / LETTER))
        yield _text(end - 4, top + LINE * number, shown, anchor="end", bold=True)


def _rows(chart: Chart, width: int, row: int) -> Iterator[str]:
    for number, signal in enumerate(chart.signals):
        top = TOP + number * (_title(width) + row) + _title(width)
        smallest, largest = _range(signal)
        frame = _Frame(
            since=chart.since,
            until=chart.until,
            width=width,
            top=top,
            largest=largest,
            smallest=smallest,
            row=row,
        )
        yield from _row(chart, signal, frame)


def _range(signal: Signal) -> tuple[float, float]:
    """Return the range of a row: the effects and the margin; wide intervals are cut."""
    reach = 1.3 * max(signal.margin, *(abs(one) for one in signal.effect))
    low = min(-1.3 * signal.margin, *(max(one, -reach) for one in signal.low))
    high = max(1.3 * signal.margin, *(min(one, reach) for one in signal.high))
    least = -1.0 if signal.usual is None else -signal.usual  # no rate is below 0
    return max(low, least), high


def _row(chart: Chart, signal: Signal, frame: _Frame) -> Iterator[str]:
    right = frame.width - RIGHT
    if _began_inside(chart) and chart.onset is not None:
        start, end = frame.x(chart.onset.start), frame.x(chart.onset.end)
        wide = max(2.0, end - start)
        yield _tag(
            "rect", "onset", x=start, y=frame.top, width=wide, height=frame.row,
            fill="#c07a00", fill_opacity=0.25,
        )  # fmt: skip
    high, low = frame.y(signal.margin), frame.y(-signal.margin)
    yield _tag(
        "rect", "margin", x=LEFT, y=high, width=right - LEFT, height=low - high,
        fill="#1b7340", fill_opacity=0.12,
    )  # fmt: skip
    yield from _ticks_of(signal, frame)
    yield from _curve(signal, frame)
    yield from _heading(chart, signal, frame)


def _began_inside(chart: Chart) -> bool:
    onset = chart.onset
    return onset is not None and onset.end > chart.since and onset.start < chart.until


def _ticks_of(signal: Signal, frame: _Frame) -> Iterator[str]:
    """Write the numbers beside a row: the normal one first, then those that do not hit another."""
    written: list[float] = []
    for value in (0.0, max(signal.effect), signal.margin, min(signal.effect), -signal.margin):
        y = frame.y(value)
        fits = frame.smallest <= value <= frame.largest
        if fits and all(abs(y - other) > 1.5 * LINE for other in written):
            written.append(y)
            yield _tag(
                "line", "rule", x1=LEFT, x2=frame.width - RIGHT, y1=y, y2=y, stroke="#dfe3e8"
            )
            yield _text(LEFT - 5, y + 4, signal.shown(value), anchor="end")


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


def _title(width: float) -> int:
    return TITLE + (14 if width < SLIM else 0)


def _heading(chart: Chart, signal: Signal, frame: _Frame) -> Iterator[str]:
    """Write above a row what it is, and its newest number; left of where events mostly are."""
    newest = chart.newest(signal)
    kind = "critical" if signal.crossed else "ink"
    y, room = frame.top - 20, int((frame.width - RIGHT - LEFT) / LETTER)
    if frame.width < SLIM:
        yield _text(LEFT, y - 14, _short(visible(_name(signal)), room), kind=kind, bold=True)
        yield _text(LEFT, y, newest, kind=kind)
    else:
        name = _short(visible(_name(signal)), room - len(newest) - 2)
        yield _text(LEFT, y, f"{name} · {newest}", kind=kind, bold=True)
    yield _text(LEFT, y + 14, _short(signal.unit, room))


def _name(signal: Signal) -> str:
    return (
        f"{signal.words}: {signal.news}"
        if (signal.crossed or signal.outside) and signal.news
        else signal.words
    )


def _marks(chart: Chart, width: int, height: int) -> Iterator[str]:
    frame = _frame_of_time(chart, width)
    lanes: tuple[list[tuple[float, float]], ...] = ([], [], [], [])
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
    legend = "times in UTC"
    if chart.signals:
        legend += " · line: measured, with its 95 % interval · green: normal"
    if chart.signals and _began_inside(chart):
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


_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_LAST_SHORT: Final = 0xFFFF


def visible(text: str) -> str:
    r"""Write control, formatting and bidi characters as escapes.

    >>> visible("safe\u202etxt.exe")
    'safe\\u202etxt.exe'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= _LAST_SHORT else f"\\U{code:08x}"
