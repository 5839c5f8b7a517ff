"""Signals on the pages: those that matter drawn large, the others small, by family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from monitor.incident.chart import draw, spark
from monitor.incident.signals import FAMILIES, Chart, Signal, family_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Some signals of a chart, drawn for a wide screen and for a narrow one."""

    wide: Markup
    narrow: Markup
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """A signal drawn small, beside its name and its newest number."""

    signal: Signal
    newest: str
    drawing: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFamily:
    """Signals of one kind, drawn small; ``unusual`` ones lie outside their margin."""

    title: str
    sparks: list[Spark]

    @property
    def unusual(self) -> int:
        return sum(one.signal.outside for one in self.sparks)


def drawing(
    chart: Chart, signals: Sequence[Signal], *, wide: tuple[int, int], narrow: tuple[int, int]
) -> Drawing:
    """Draw some of a chart's signals, a row each; ``wide`` and ``narrow`` are a row's size."""
    some = replace(chart, signals=signals)
    return Drawing(wide=_drawn(some, *wide), narrow=_drawn(some, *narrow), count=len(signals))


def families(chart: Chart, signals: Sequence[Signal]) -> list[SignalFamily]:
    """Sort some of a chart's signals by family."""
    found = [
        SignalFamily(
            title=title,
            sparks=[_spark(one, chart) for one in signals if family_of(one.name) == title],
        )
        for title in FAMILIES
    ]
    return [family for family in found if family.sparks]


def _spark(signal: Signal, chart: Chart) -> Spark:
    drawn = spark(signal, since=chart.since, until=chart.until)
    return Spark(signal=signal, newest=chart.newest(signal), drawing=Markup(drawn))  # noqa: S704 - spark writes numbers only


def _drawn(chart: Chart, width: int, row: int) -> Markup:
    return Markup(draw(chart, width=width, row=row))  # noqa: S704 - draw escapes
