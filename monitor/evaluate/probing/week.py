"""The scheduled runs of the last week, with which a run is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from detectors.perplexity import DocumentScores, PerplexityChange, compare, rounding_floor
from detectors.trend import Trend, trend
from monitor.evaluate.probing.asked import Occasion, Probing, alike, scores_of
from monitor.probes.corpus import Corpus
from monitor.store.evaluation.perplexity import RunRole, StoredRun

WEEK = timedelta(days=7)
MOST_RUNS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """Earlier scheduled runs, oldest first, each compared with the registration.

    ``since`` is the time of the registration.
    """

    since: datetime
    runs: tuple[StoredRun, ...]
    changes: tuple[PerplexityChange, ...]

    def previous(self, run: StoredRun) -> PerplexityChange | None:
        """The last of them, for "+5 % twice", if it measured the same weights in the same way."""
        if not self.runs or not alike(self.runs[-1], run):
            return None
        return self.changes[-1] if self.runs[-1].weights == run.weights else None

    def heading(self, change: PerplexityChange, *, at: datetime) -> Trend | None:
        """Return the trend of these runs and a run made now."""
        runs = [*zip((run.at for run in self.runs), self.changes, strict=True), (at, change)]
        usable = [(when.timestamp(), c.effect) for when, c in runs if c.effect > -1.0]
        times, effects = np.array([u[0] for u in usable]), np.array([u[1] for u in usable])
        return trend(times, np.log1p(effects), since=self.since.timestamp())


def week_of(
    asked: Probing, corpus: Corpus, registered: Sequence[StoredRun], occasion: Occasion
) -> Week:
    """Read the week before an occasion.

    Left out are runs of this same probe from before an engine stopped it, and runs closer
    than half an interval: two runs of one look are not "twice". Runs from before a person
    judged the finding are left out as well.
    """
    word = occasion.words.of_the_model or registered[0].at
    since = max(registered[0].at, occasion.at - WEEK, word)
    stored = asked.recent(
        asked.own, corpus, roles=(RunRole.SCHEDULED,), since=since, limit=MOST_RUNS
    )
    before = min(occasion.resumed_since, occasion.at - occasion.interval / 2)
    runs = [run for run in stored[::-1] if run.at <= before and run.began_at >= since]
    reference: list[DocumentScores] = [scores_of(run, corpus) for run in registered]
    return Week(
        since=registered[0].at,
        runs=tuple(runs),
        changes=tuple(
            compare(reference, scores_of(run, corpus), least_floor=rounding_floor(run.dtype))
            for run in runs
        ),
    )
