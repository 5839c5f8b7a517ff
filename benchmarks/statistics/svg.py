"""Charts as SVG text: lines over time, intervals on a logarithmic scale, and their parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 220, 24, 44, 26
COLOURS = ("#2563a8", "#c2542d", "#3d8b5f", "#7a5aa6", "#8a7a2f")
INK, FAINT = "#333", "#ddd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named curve through points."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A named interval with its middle; ``mark`` is something to compare it with.

    Infinite ends are drawn to the edge, an infinite middle not at all.
    """

    name: str
    low: float
    middle: float
    high: float
    mark: float | None = None
    colour: int = 0


def lines(title: str, curves: Sequence[Line], *, x: str, y: str, level: float | None = None) -> str:
    """Draw curves on linear axes; ``level`` is a dashed horizontal line."""
    height, left, bottom = 320, 64, 52
    points = [point for curve in curves for point in curve.points]
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0 = min([p[1] for p in points] + ([] if level is None else [level]))
    y1 = max([p[1] for p in points] + ([] if level is None else [level]))

    def at(px: float, py: float) -> tuple[float, float]:
        across = left + (px - x0) / (x1 - x0) * (WIDTH - left - RIGHT)
        return across, height - bottom - (py - y0) / (y1 - y0 or 1.0) * (height - bottom - TOP)

    body = [text(left, 20, title, bold=True)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        across, down = at(x0 + share * (x1 - x0), y0 + share * (y1 - y0))
        body.append(rule(left, down, WIDTH - RIGHT, down, FAINT))
        body.append(text(left - 6, down + 4, f"{y0 + share * (y1 - y0):.3g}", anchor="end"))
        body.append(
            text(across, height - bottom + 16, f"{x0 + share * (x1 - x0):.3g}", anchor="middle")
        )
    if level is not None:
        down = at(x0, level)[1]
        body.append(rule(left, down, WIDTH - RIGHT, down, INK, dashed=True))
    for i, curve in enumerate(curves):
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in curve.points)
        colour = COLOURS[i % len(COLOURS)]
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body.append(text(left + 8 + 170 * i, 38, curve.name, colour=colour))
    body.append(text(WIDTH - RIGHT, height - 14, x, anchor="end"))
    body.append(text(left, height - 14, y))
    return page(body, height)


def spans(title: str, rows: Sequence[Span], *, x: str, low: float, high: float) -> str:
    """Draw intervals one under the other on a logarithmic axis from ``low`` to ``high``."""
    height = TOP + ROW * len(rows) + 40

    def at(value: float) -> float:
        inside = min(max(value, low), high)
        return LEFT + math.log(inside / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT)

    body = [text(12, 20, title, bold=True)]
    for tick in _decades(low, high):
        body.append(rule(at(tick), TOP - 8, at(tick), height - 36, FAINT))
        body.append(text(at(tick), height - 20, f"{tick:g}", anchor="middle"))
    for i, row in enumerate(rows):
        down, colour = TOP + ROW * i + 8, COLOURS[row.colour % len(COLOURS)]
        body.append(text(LEFT - 10, down + 4, row.name, anchor="end"))
        body.append(rule(at(row.low), down, at(row.high), down, colour, width=5))
        if math.isfinite(row.middle):
            body.append(f'<circle cx="{at(row.middle):.1f}" cy="{down}" r="5" fill="{colour}"/>')
        if row.mark is not None and math.isfinite(row.mark):
            body.append(rule(at(row.mark), down - 9, at(row.mark), down + 9, INK, width=2))
    body.append(text(WIDTH - RIGHT, height - 4, x, anchor="end"))
    return page(body, height)


def _decades(low: float, high: float) -> list[float]:
    exponents = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    return [10.0**e for e in exponents]


def text(
    x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False, colour: str = INK
) -> str:
    """Write words; ``anchor`` says which end of them stands at ``x``."""
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(words)}</text>"
    )


def rule(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, width: int = 1, dashed: bool = False
) -> str:
    """Draw a straight line."""
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"{dash}/>'
    )


def page(body: Sequence[str], height: int, *, width: int = WIDTH) -> str:
    """Put what was drawn on a white ground."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    )
    return "\n".join([head, *body, "</svg>", ""])
