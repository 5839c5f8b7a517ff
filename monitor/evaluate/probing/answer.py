"""A version's result on one corpus, compared with its registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from detectors.perplexity import (
    MARGIN,
    DocumentScores,
    PerplexityChange,
    compare,
    rounding_floor,
)
from detectors.trend import Trend
from monitor.evaluate.probing.asked import (
    Occasion,
    Probing,
    RunStopped,
    alike,
    replaced,
    scores_of,
    unchanged,
)
from monitor.evaluate.probing.week import week_of
from monitor.probes.corpus import Corpus, CorpusRole
from monitor.store.evaluation.perplexity import RunRole, StoredRun

MOST_CONFIRMATIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A run over one corpus compared with the registration.

    at
        Start of the run; a crossing after it needs a new run.
    runs
        All its runs, oldest first; ``run`` is the last.
    asked
        Whether this attempt made ``run``, and not an earlier, stopped one.
    previous
        The scheduled run before it, for "+5 % twice".
    """

    at: datetime
    corpus: Corpus
    registered: tuple[StoredRun, ...]
    runs: tuple[StoredRun, ...]
    change: PerplexityChange
    asked: bool = True
    previous: PerplexityChange | None = None
    trend: Trend | None = None

    @property
    def run(self) -> StoredRun:
        """The newest run."""
        return self.runs[-1]

    @property
    def measured_from(self) -> datetime:
        """The time when the first document was read."""
        return min(run.began_at for run in self.runs)

    @property
    def floor(self) -> float:
        """The noise floor of unchanged weights in this engine, nats per token."""
        return self.change.noise_floor

    @property
    def reference(self) -> list[DocumentScores]:
        """The registration's runs, as :mod:`detectors.perplexity` takes them."""
        return [scores_of(run, self.corpus) for run in self.registered]

    @property
    def scores(self) -> DocumentScores:
        """The run, as :mod:`detectors.perplexity` takes it."""
        return scores_of(self.run, self.corpus)

    @property
    def found(self) -> bool:
        """Whether the corpus moved enough to be reported."""
        return self.change.changed or self.change.degraded

    @property
    def engine_words(self) -> str | None:
        """Return a note if another engine answered than at registration."""
        before, now = self.registered[0], self.run
        if before.engine == now.engine and before.dtype == now.dtype:
            return None
        was, is_ = ([part for part in (r.engine, r.dtype) if part] for r in (before, now))
        return f"engine {' '.join(was) or 'unknown'} at registration, {' '.join(is_)} now"

    @property
    def other_files(self) -> bool:
        """Whether the engine read other files than at registration; False where unknown."""
        known = {run.weights for run in self.registered if alike(run, self.run)}
        told = self.run.weights is not None and bool(known) and None not in known
        return told and self.run.weights not in known


def leading(answers: Sequence[Answer]) -> Answer:
    """Return the answer on the adapter's own domain, if there is one, for the score."""
    own = (a for a in answers if a.corpus.role is CorpusRole.DOMAIN)
    return next(own, answers[0])


def registered_answer(asked: Probing, corpus: Corpus) -> Answer:
    """Compare a registration with itself: its numbers, and no finding."""
    registered = tuple(asked.registration(asked.own, corpus))
    runs = [scores_of(run, corpus) for run in registered]
    return Answer(
        at=registered[-1].at,
        corpus=corpus,
        registered=registered,
        runs=(registered[-1],),
        change=compare(runs, runs[-1], least_floor=rounding_floor(registered[-1].dtype)),
    )


def look(asked: Probing, corpus: Corpus, occasion: Occasion, *, anew: bool = False) -> Answer:
    """Run a corpus and compare it with its registration; nothing is confirmed yet.

    ``anew``: ask, whatever an earlier attempt has read.

    Raises
    ------
    RunStopped
        The run ended early, or has no document in common with the registration.
    """
    registered = tuple(asked.registration(asked.own, corpus))
    week = week_of(asked, corpus, registered, occasion)
    resumed = None if anew else _resumed(asked, corpus, occasion)
    known = resumed or (None if anew else unchanged(asked, asked.own, corpus))
    run = known or asked.run(asked.own, corpus, occasion.role)
    previous = week.previous(run)
    change = _compared(registered, run, corpus, previous=previous)
    heading = week.heading(change, at=occasion.at)
    return Answer(
        at=resumed.at if resumed else occasion.at,
        corpus=corpus,
        registered=registered,
        runs=(run,),
        change=_with_trend(change, heading),
        asked=known is None,
        previous=previous,
        trend=heading,
    )


def of_same_weights(asked: Probing, answers: Sequence[Answer], occasion: Occasion) -> list[Answer]:
    """Ask a corpus again whose run is of other weights, or another engine, than the newest one's.

    A stopped attempt may have read one corpus before the weights were replaced.

    Raises
    ------
    RunStopped
        They were replaced again meanwhile, or as :func:`look`.
    """
    newest = max((answer.run for answer in answers), key=lambda run: run.began_at)
    same = [
        look(asked, answer.corpus, occasion, anew=True) if replaced(answer.run, newest) else answer
        for answer in answers
    ]
    if any(replaced(newest, answer.run) for answer in same):
        raise RunStopped("the engine or the weights were replaced between two corpora")
    return same


def confirm(asked: Probing, first: Answer) -> Answer:
    """Run again, at once and on the same replica: only a change in both runs is reported.

    Raises
    ------
    RunStopped
        As :func:`look`; also where engine or weights were replaced between the two.
    """
    known = _confirmation(asked, first)
    again = known or _once_more(asked, first)
    if replaced(first.run, again):
        because = "the engine or the weights were replaced between two readings"
        asked.void([first.run.id, again.id], because=because, at=again.at)
    return _both(first, again, asked=known is None)


def still_there(asked: Probing, answers: Sequence[Answer]) -> list[Answer]:
    """Ask again about a finding that only an earlier, stopped attempt has read.

    Weights may change in the minutes between two attempts, so the attempt that reports a
    finding must have read it itself.

    Raises
    ------
    RunStopped
        The finding is gone and does not count.
    """
    found = [answer for answer in answers if answer.found]
    if not found or any(answer.asked for answer in found):
        return list(answers)
    lead = leading(found)
    again = _once_more(asked, lead)
    anew = _both(lead, again, asked=True)
    if not anew.found or replaced(lead.run, again):
        runs = [run.id for answer in (*found, anew) for run in answer.runs]
        asked.void(runs, because="what an earlier try has read is gone since", at=again.at)
    return [anew if answer is lead else answer for answer in answers]


def of_other_weights(answer: Answer) -> Answer:
    """Count +5 % as degraded in one probe and its confirmation, without a second probe.

    The second one is there for what passes by itself, and other weights do not.
    """
    change = answer.change
    if change.degraded or not (change.changed and change.above_margin):
        return answer
    reasons = (*change.reasons, "other weights answer")
    return replace(answer, change=replace(change, degraded=True, reasons=reasons))


def _once_more(asked: Probing, first: Answer) -> StoredRun:
    return asked.run(asked.own, first.corpus, RunRole.CONFIRMATION, replica=first.run.replica)


def _both(first: Answer, again: StoredRun, *, asked: bool) -> Answer:
    """Combine two runs: only changes in both count, with the numbers of the second."""
    second = _with_trend(
        _compared(first.registered, again, first.corpus, previous=first.previous), first.trend
    )
    change = replace(
        second,
        changed=first.change.changed and second.changed,
        degraded=first.change.degraded and second.degraded,
    )
    return replace(first, runs=(*first.runs, again), change=change, asked=asked)


def _compared(
    registered: Sequence[StoredRun],
    run: StoredRun,
    corpus: Corpus,
    *,
    previous: PerplexityChange | None,
) -> PerplexityChange:
    change = compare(
        [scores_of(one, corpus) for one in registered],
        scores_of(run, corpus),
        previous=previous,
        least_floor=rounding_floor(run.dtype),
    )
    if change.documents == 0:
        raise RunStopped(f"none of {change.unscored} registered documents can be scored now")
    return change


def _resumed(asked: Probing, corpus: Corpus, occasion: Occasion) -> StoredRun | None:
    """Return the run of this probe's earlier attempt, if this process made it.

    The replica must still hold the model, because a finding is confirmed on it.
    """
    since = occasion.resumed_since
    found = asked.recent(asked.own, corpus, roles=(occasion.role,), since=since)
    ours = (r for r in found if r.began_at >= since and r.made_by == asked.held.owner)
    return next((run for run in ours if asked.still_on(run.replica)), None)


def _confirmation(asked: Probing, first: Answer) -> StoredRun | None:
    """Return the second run, if the earlier attempt made one."""
    if first.asked:
        return None
    later = asked.recent(
        asked.own,
        first.corpus,
        roles=(RunRole.CONFIRMATION,),
        since=first.at,
        limit=MOST_CONFIRMATIONS,
    )
    whole = len(first.run.documents)
    ours = (r for r in reversed(later) if r.made_by == asked.held.owner)
    return next((run for run in ours if len(run.documents) == whole), None)


def _with_trend(change: PerplexityChange, heading: Trend | None) -> PerplexityChange:
    """Count a mean of +5 % over a whole week as degraded."""
    if heading is None or not heading.degraded:
        return change
    said = f"7-day mean {heading.mean:+.1%}, line {MARGIN:+.0%}"
    return replace(change, degraded=True, reasons=(*change.reasons, said))
