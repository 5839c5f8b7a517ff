"""How much of a version's requests its detectors compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.views.shape import View
from monitor.views.vocabulary import CauseWord


class GapBody(View):
    """Requests that a detector did not compare, for one reason."""

    cause: CauseWord
    value: str
    """What it is about: `temperature 0.7`; empty: nothing to name."""
    requests: int
    since: datetime | None
    """End of the window that first had them; null: not known, as of past windows."""
    text: str
    """The cause in plain words, to follow the number."""


class CoverageBody(View):
    """How much a detector compared; `requests` is `compared` and all `gaps` together."""

    detector: str
    title: str
    """What it measures, in plain words."""
    requests: int
    """All that happened; sampling takes none away."""
    compared: int
    ratio: float | None
    """`compared` of `requests`; null: there were none."""
    of_expected: float | None
    """`compared` of what it would have compared had it missed nothing: without requests that
    failed, that came while nothing was evaluated, and the like. Below `policy.blind_below` it is
    blind. null: it could not have compared one."""
    since: datetime | None
    """Since when it misses requests that it could compare; null: it misses none."""
    gaps: Sequence[GapBody]
    """Those that make blind first, then by size."""
    text: str
    """All of it in plain words."""


class SamplingBody(View):
    """What sampling set aside in the last 24 hours: no loss, as what it kept stands for it."""

    requests: int
    sampled_out: int
    text: str | None
    """In plain words; null: nothing was set aside."""
