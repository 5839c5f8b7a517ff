"""How often each value of a signal comes, live and in the reference."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.views.shape import View


class HistogramSide(View):
    """One side of the comparison."""

    n: int
    """Requests that have a value."""
    shares: Sequence[float]
    """Of these, in each bin; together 1, or all 0 where there are none."""
    median: float | None
    """null: no request has a value."""


class HistogramBody(View):
    """One signal's values; the first and the last bin also hold what lies beyond them."""

    signal: str
    words: str
    unit: str
    edges: Sequence[float]
    """One more than there are bins, rising."""
    live: HistogramSide
    reference: HistogramSide
