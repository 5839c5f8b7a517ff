"""The scheduled runs of the last week, which a run is not judged without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from detectors.perplexity import DocumentScores, PerplexityChange, compare
from detectors.trend import Trend, trend
from monitor.evaluate.probing.asked import Asked, Occasion, scores_of
from monitor.probes.corpus import Corpus
from monitor.store.perplexity import RunRole, StoredRun

WEEK = timedelta(days=7)
MOST_RUNS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """Earlier scheduled runs, oldest first, each compared with the registration.

    ``since`` is when that was made.
    """

    since: datetime
    times: tuple[datetime, ...]
    changes: tuple[PerplexityChange, ...]

    @property
    def previous(self) -> PerplexityChange | None:
        """The last of them, for "+5 % twice"."""
        return self.changes[-1] if self.changes else None

    def heading(self, change: PerplexityChange, *, at: datetime) -> Trend | None:
        """Say where they and a run made now are heading."""
        runs = [*zip(self.times, self.changes, strict=True), (at, change)]
        usable = [(when.timestamp(), c.effect) for when, c in runs if c.effect > -1.0]
        times, effects = np.array([u[0] for u in usable]), np.array([u[1] for u in usable])
        return trend(times, np.log1p(effects), since=self.since.timestamp())


def week_of(
    asked: Asked, corpus: Corpus, registered: Sequence[StoredRun], occasion: Occasion
) -> Week:
    """Read the week before an occasion.

    A run of this same probe, made before an engine stopped it, is not of it, nor one that is
    closer than half an interval: two runs of one look are not "twice".
    """
    since = max(registered[0].at, occasion.at - WEEK)
    stored = asked.recent(
        asked.own, corpus, roles=(RunRole.SCHEDULED,), since=since, limit=MOST_RUNS
    )
    before = min(occasion.resumed_since, occasion.at - occasion.interval / 2)
    runs = [run for run in stored[::-1] if run.at <= before]
    reference: list[DocumentScores] = [scores_of(run, corpus) for run in registered]
    return Week(
        since=registered[0].at,
        times=tuple(run.at for run in runs),
        changes=tuple(compare(reference, scores_of(run, corpus)) for run in runs),
    )
