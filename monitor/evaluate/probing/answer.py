"""What one corpus says of a version, compared with its registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from detectors.perplexity import MARGIN, DocumentScores, PerplexityChange, compare
from detectors.trend import Trend
from monitor.evaluate.probing.asked import Asked, Occasion, RunStopped, scores_of, unchanged
from monitor.evaluate.probing.week import week_of
from monitor.probes.corpus import Corpus, CorpusRole
from monitor.probes.perplexity import PerplexityRun
from monitor.store.perplexity import RunRole, StoredRun

MOST_CONFIRMATIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A run over one corpus against the registration.

    at
        A crossing after it is not answered by it.
    resumed
        Whether the run was made by this probe's earlier, stopped attempt.
    previous
        The scheduled run before it, for "+5 % twice".
    """

    at: datetime
    corpus: Corpus
    registered: tuple[StoredRun, ...]
    run: PerplexityRun | StoredRun
    change: PerplexityChange
    resumed: bool = False
    previous: PerplexityChange | None = None
    trend: Trend | None = None

    @property
    def reference(self) -> list[DocumentScores]:
        """The registration's runs, as the maths wants them."""
        return [scores_of(run, self.corpus) for run in self.registered]

    @property
    def scores(self) -> DocumentScores:
        """The run, as the maths wants it."""
        return scores_of(self.run, self.corpus)

    @property
    def found(self) -> bool:
        """Whether the corpus moved in a way that is told."""
        return self.change.changed or self.change.degraded

    @property
    def engine_words(self) -> str | None:
        """Say so where another engine answered than at registration."""
        before, now = self.registered[0], self.run
        if before.engine == now.engine and before.dtype == now.dtype:
            return None
        was, is_ = ([part for part in (r.engine, r.dtype) if part] for r in (before, now))
        return f"engine {' '.join(was) or 'unknown'} at registration, {' '.join(is_)} now"


def leading(answers: Sequence[Answer]) -> Answer:
    """Give the adapter's own domain where there is one: what its score is about."""
    own = (a for a in answers if a.corpus.role is CorpusRole.DOMAIN)
    return next(own, answers[0])


def registered_answer(asked: Asked, corpus: Corpus) -> Answer:
    """Compare a registration with itself: its numbers, and no finding."""
    registered = tuple(asked.registration(asked.own, corpus))
    runs = [scores_of(run, corpus) for run in registered]
    return Answer(
        at=registered[-1].at,
        corpus=corpus,
        registered=registered,
        run=registered[-1],
        change=compare(runs, runs[-1]),
    )


def look(asked: Asked, corpus: Corpus, occasion: Occasion) -> Answer:
    """Run a corpus and compare it with its registration; nothing is confirmed yet.

    Raises
    ------
    RunStopped
        The run ended early, or has no document in common with the registration.
    """
    registered = tuple(asked.registration(asked.own, corpus))
    week = week_of(asked, corpus, registered, occasion)
    resumed = _resumed(asked, corpus, occasion)
    run = (
        resumed
        or unchanged(asked, asked.own, corpus)
        or asked.run(asked.own, corpus, occasion.role)
    )
    reference = [scores_of(one, corpus) for one in registered]
    change = _compared(reference, scores_of(run, corpus), previous=week.previous)
    heading = week.heading(change, at=occasion.at)
    return Answer(
        at=resumed.at if resumed else occasion.at,
        corpus=corpus,
        registered=registered,
        run=run,
        change=_with_trend(change, heading),
        resumed=resumed is not None,
        previous=week.previous,
        trend=heading,
    )


def confirm(asked: Asked, first: Answer) -> Answer:
    """Run again, at once and on the same replica: only what both say is told.

    Raises
    ------
    RunStopped
        As :func:`look`.
    """
    again = _confirmation(asked, first) or asked.run(
        asked.own, first.corpus, RunRole.CONFIRMATION, replica=first.run.replica
    )
    second = _with_trend(
        _compared(first.reference, scores_of(again, first.corpus), previous=first.previous),
        first.trend,
    )
    change = replace(
        second,
        changed=first.change.changed and second.changed,
        degraded=first.change.degraded and second.degraded,
    )
    return replace(first, run=again, change=change)


def _compared(
    reference: Sequence[DocumentScores],
    scores: DocumentScores,
    *,
    previous: PerplexityChange | None,
) -> PerplexityChange:
    change = compare(reference, scores, previous=previous)
    if change.documents == 0:
        raise RunStopped(f"none of {change.unscored} registered documents can be scored now")
    return change


def _resumed(asked: Asked, corpus: Corpus, occasion: Occasion) -> StoredRun | None:
    since = occasion.resumed_since
    found = asked.recent(asked.own, corpus, roles=(occasion.role,), since=since)
    return found[0] if found else None


def _confirmation(asked: Asked, first: Answer) -> StoredRun | None:
    """Give the second run that the earlier attempt had made as well."""
    if not first.resumed:
        return None
    later = asked.recent(
        asked.own,
        first.corpus,
        roles=(RunRole.CONFIRMATION,),
        since=first.at,
        limit=MOST_CONFIRMATIONS,
    )
    whole = len(first.run.documents)
    return next((run for run in reversed(later) if len(run.documents) == whole), None)


def _with_trend(change: PerplexityChange, heading: Trend | None) -> PerplexityChange:
    """Count a whole week's mean at +5 % as degraded."""
    if heading is None or not heading.degraded:
        return change
    said = f"7-day mean {heading.mean:+.1%}, line {MARGIN:+.0%}"
    return replace(change, degraded=True, reasons=(*change.reasons, said))
