"""The heat map of ways and tools, and requests to a page over the KL of the fault."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, groupby

from benchmarks.adapters.page.columns import Cell, Column, cell, columns, false_alarms
from benchmarks.adapters.page.results import Repeat, Results, Way
from benchmarks.statistics import svg

_LEFT, _RIGHT, _TOP, _WIDE, _ROW, _GAP = 300, 72, 128, 74, 21, 24
_SOON, _LATE = (21, 87, 122), (214, 236, 245)
WRONG, _NONE = "#c62f2f", "#f1f1f1"
_FIRST, _LAST = 5.0, 100.0
_DARK = 0.6
"""Share of the way from soon to late up to which the ground is too dark for dark ink."""
_CALM, _UNKNOWN = "#e3f1e3", "#fff"
_KL = (1e-4, 10.0)
_MARGIN, _ABOVE, _BOTTOM = 64, 64, 308


def heat_map(results: Results) -> str:
    """Draw one row for each way, one column for each tool; the darker, the sooner."""
    asked = columns(results)
    width = _LEFT + _WIDE * len(asked) + _RIGHT
    body = [
        svg.text(12, 20, "Broken requests until the first alarm, median of the runs", bold=True),
        svg.text(12, 38, "- nothing was said; 1/3 in one run of three. Red: a false alarm."),
        *(_head(place, column) for place, column in enumerate(asked)),
    ]
    down = float(_TOP)
    for family, group in groupby(results.ways, key=lambda way: way.family):
        body.append(svg.text(12, down + 15, family, bold=True))
        down += _GAP
        for way in group:
            body += _row(way, asked, down)
            down += _ROW
    body += _false_row(results.ways, asked, down + 14)
    return svg.page(body, round(down) + 52, width=width)


def _head(place: int, column: Column) -> str:
    x, y = _LEFT + _WIDE * (place + 0.5), _TOP - 8
    return f'<g transform="rotate(-35 {x:.1f} {y})">{svg.text(x, y, column.title)}</g>'


def _row(way: Way, asked: Sequence[Column], down: float) -> list[str]:
    kl = "" if way.kl is None or way.harmless else f" · KL {way.kl:.2g}"
    body = [svg.text(_LEFT - 8, down + 14, f"{way.way.replace('-', ' ')}{kl}", anchor="end")]
    for place, column in enumerate(asked):
        seen = cell(way, column)
        body += _cell(place, down, seen.words, *_colours(way, seen))
    return body


def _colours(way: Way, seen: Cell) -> tuple[str, str]:
    """Ground and ink of a cell."""
    if not seen.of:
        return _UNKNOWN, svg.INK
    if way.harmless:
        return (WRONG, "#fff") if seen.seen else (_CALM, svg.INK)
    if seen.requests is None:
        return _NONE, svg.INK
    inside = min(max(seen.requests, _FIRST), _LAST)
    late = math.log(inside / _FIRST) / math.log(_LAST / _FIRST)
    ground = [round(a + late * (b - a)) for a, b in zip(_SOON, _LATE, strict=True)]
    return f"rgb({','.join(map(str, ground))})", "#fff" if late < _DARK else svg.INK


def _cell(place: int, down: float, words: str, ground: str, ink: str) -> list[str]:
    x = _LEFT + _WIDE * place
    size = f'width="{_WIDE - 2}" height="{_ROW - 2}"'
    return [
        f'<rect x="{x + 1}" y="{down + 1:.0f}" {size} fill="{ground}"/>',
        svg.text(x + _WIDE / 2, down + 14, words, anchor="middle", colour=ink),
    ]


def _false_row(ways: Sequence[Way], asked: Sequence[Column], down: float) -> list[str]:
    label = "false alarms in 1,000 healthy requests"
    body = [svg.text(_LEFT - 8, down + 14, label, anchor="end", bold=True)]
    for place, column in enumerate(asked):
        found = false_alarms(ways, column)
        if found is None:
            continue
        count, healthy = found
        words = f"{1_000 * count / max(healthy, 1):.2g}"
        ground, ink = (WRONG, "#fff") if count else (_CALM, svg.INK)
        body += _cell(place, down, words, ground, ink)
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """Both axes are logarithmic; experiments without a page stand on a line above."""

    most: int
    """Broken requests of the longest experiment."""

    def across(self, kl: float) -> float:
        share = math.log(max(kl, _KL[0]) / _KL[0]) / math.log(_KL[1] / _KL[0])
        return _MARGIN + min(share, 1.0) * (svg.WIDTH - _MARGIN - svg.RIGHT)

    def down(self, requests: float) -> float:
        share = math.log(max(requests, 1.0)) / math.log(max(self.most, 2))
        return _BOTTOM - share * (_BOTTOM - _ABOVE - 24)

    def axes(self) -> list[str]:
        """Draw the decades of both."""
        body = [svg.text(_MARGIN - 6, _ABOVE + 4, "none", anchor="end")]
        for kl in (10.0**exponent for exponent in range(-4, 2)):
            body.append(svg.rule(self.across(kl), _ABOVE, self.across(kl), _BOTTOM, svg.FAINT))
            body.append(svg.text(self.across(kl), _BOTTOM + 16, f"{kl:g}", anchor="middle"))
        for tick in (tick for tick in (1, 10, 100, 1_000, 10_000) if tick <= self.most):
            y = self.down(tick)
            body.append(svg.rule(_MARGIN, y, svg.WIDTH - svg.RIGHT, y, svg.FAINT))
            body.append(svg.text(_MARGIN - 6, y + 4, f"{tick:,}", anchor="end"))
        return body

    def point(self, way: Way, one: Repeat, colour: str) -> str:
        """Draw an experiment, hollow where it was not paged."""
        page = one.driftline.page
        x, y = self.across(one.kl or 0.0), _ABOVE if page is None else self.down(page.requests)
        fill = "none" if page is None else colour
        look = f'fill="{fill}" stroke="{colour}"'
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {look}><title>{way.way}</title></circle>'


def page_over_kl(results: Results) -> str:
    """Draw each experiment of a fault with a known KL: requests to its page, or none above."""
    faults = [way for way in results.ways if not way.harmless and way.kl is not None]
    plane = _Plane(most=max((one.broken for way in faults for one in way.repeats), default=1))
    colours = dict(zip(dict.fromkeys(way.family for way in faults), cycle(svg.COLOURS)))
    body = [svg.text(_MARGIN, 20, "Requests until the page, over the fault's KL", bold=True)]
    for place, (name, colour) in enumerate(colours.items()):
        body.append(svg.text(_MARGIN + 100 * place, 42, name, colour=colour))
    body += plane.axes()
    body += [plane.point(way, one, colours[way.family]) for way in faults for one in way.repeats]
    x = "KL to the approved version, nats per token"
    body.append(svg.text(svg.WIDTH - svg.RIGHT, _BOTTOM + 38, x, anchor="end"))
    return svg.page(body, _BOTTOM + 52)
