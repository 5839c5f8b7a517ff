"""The siblings and base that moved as well: one engine upgrade must be one ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median

import numpy as np
import structlog

from detectors.perplexity import (
    CHANGED_FLOORS,
    DocumentScores,
    PerplexityChange,
    brought_to_length,
    compare,
    noise_floor,
)
from detectors.types import Flags, Floats
from monitor.evaluate.probing.answer import Answer
from monitor.evaluate.probing.asked import (
    Model,
    Occasion,
    Probing,
    Replicated,
    RunStopped,
    or_none,
    scores_of,
    void_base,
)
from monitor.evaluate.probing.comparable import comparable
from monitor.policy.common_cause import FEWEST_MOVED, fewest
from monitor.probes.corpus import Corpus, CorpusRole
from monitor.probes.errors import ProbeError, ProbeFailed
from monitor.store.evaluation.perplexity import RunRole, StoredRun

_LOG = structlog.get_logger(__name__)

MOST_SIBLINGS = 5
PATIENCE = timedelta(minutes=15)
"""Longest time that a finding waits for an engine too busy to probe its company."""
FEWEST_DOCUMENTS = 5
"""Documents that clear the base, where an adapter computed the others."""
PART = 20
"""Documents asked of others: a change of base or engine moves every document."""
SURELY_SEEN = 3.0
"""A base that moved over its domain by so many times the general corpus's line moved there, too."""
SEEN_IN_ALL = 2.0
"""A fault that moves one model by so many times the line moves all that it hits over the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """The models that moved together with a version.

    base_moved
        Whether the base model, or enough siblings, moved. None where neither could be asked, or
        where the version moved so little that the same fault may not show in them.
    ratio
        How far the base, or the siblings that moved, moved; None where none moved.
    one_replica
        The version moved on one replica and not on another.
    words
        The result, with the number of the siblings asked and none of their names.
    """

    base_moved: bool | None
    ratio: float | None = None
    one_replica: bool = False
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    change: PerplexityChange | None = None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Siblings:
    asked: int = 0
    moved: tuple[str, ...] = ()
    ratios: tuple[float, ...] = ()

    @property
    def many(self) -> bool:
        return len(self.moved) >= fewest(self.asked)

    def __str__(self) -> str:
        return f"{len(self.moved)} of {self.asked} siblings moved"


def ask_company(asked: Probing, answers: Sequence[Answer], occasion: Occasion) -> Company:
    """Ask another replica, then the base, then up to 5 siblings, until one explains the move.

    Another replica comes first, because a fault of one engine moves its base model as well.
    The general corpus is asked where it moved: all versions are registered over it. Where it
    stands still, a base that seems to have moved far is asked over it, too, and that answer counts.

    Raises
    ------
    ProbeFailed
        An engine has no time for the base or a sibling now, and the finding is young enough to
        wait: one ticket for all adapters is worth minutes.
    """
    moved = [answer for answer in answers if answer.found]
    general = next((a for a in answers if a.corpus.role is CorpusRole.GENERAL), None)
    if general is None or general.found:
        return _Round(asked=asked, answer=general or moved[0], occasion=occasion).company()
    return _Round(asked=asked, answer=moved[0], occasion=occasion, still=general).company()


def lent_documents(
    asked: Probing,
    answer: Answer,
    said: StoredRun,
    *,
    beside: StoredRun,
    now: DocumentScores | None = None,
) -> Flags:
    """Return the documents of a base's run that an adapter's weights computed, in corpus order.

    The weights are those of a registration, or those that the version has ``now``. None of
    them count unless adapters explain most documents in which the base's runs differ.
    """
    corpus = answer.corpus
    one, other = scores_of(said, corpus), scores_of(beside, corpus)
    far = apart(one, other)
    moved = (far > CHANGED_FLOORS * answer.floor) & np.isfinite(far)
    if not moved.any():
        return moved  # the usual case asks for no sibling's registration
    # same weights, same engine: the registration's own noise is the limit
    line = CHANGED_FLOORS * noise_floor(answer.reference)
    known = [scores_of(run, corpus) for run in _registrations(asked, corpus)]
    known += [] if now is None else [now]
    alike = [apart(one, each) <= line for each in known]
    explained = moved & np.any(alike, axis=0) if alike else np.zeros_like(moved)
    most = explained.sum() * 2 >= moved.sum()
    return explained if most else np.zeros_like(moved)


def _registrations(asked: Probing, corpus: Corpus) -> list[StoredRun]:
    """Return the newest registered run of the version and of each of its siblings."""
    models = [asked.own, *asked.registered_siblings(corpus)]
    runs = (asked.registration(model, corpus) for model in models)
    return [found[-1] for found in runs if found]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Round:
    """Asks the others about the corpus of ``answer``, which moved.

    ``still`` is the version's answer over the general corpus where that has not moved.
    """

    asked: Probing
    answer: Answer
    occasion: Occasion
    still: Answer | None = None

    def company(self) -> Company:
        if (other := self.other_replica()) is not None:
            words = f"unchanged on replica {other}: {self.answer.run.replica} alone moved"
            return Company(base_moved=None, one_replica=True, words=words)
        base = self.base()
        if self.still is not None and base.change is not None and _far(base.change, self.still):
            # an engine may have lent it an adapter that was never registered over this corpus
            base = replace(self, answer=self.still).base()
        if base.change is not None and _moved(base.change):
            ratio = base.change.effect if base.change.documents else None
            by = f"{ratio:+.1%}" if ratio is not None else "it scores none of the documents now"
            said = f"the base model moved too ({by})"
            return Company(base_moved=True, ratio=ratio, words=said)
        siblings = self.siblings()
        if siblings.many:
            # the reason names none: not everybody who reads it may see them
            _LOG.info("siblings_moved", version=self.asked.version.label, models=siblings.moved)
            ratio = median(siblings.ratios) if siblings.ratios else None
            return Company(base_moved=True, ratio=ratio, words=f"{siblings} too")
        cleared = base.change is not None or siblings.asked >= FEWEST_MOVED
        said = f"{base.words}; {siblings}" if siblings.asked else base.words
        if cleared and self.slight():
            return Company(base_moved=None, words=f"{said}, but so small a move can hide in others")
        return Company(base_moved=False if cleared else None, words=said)

    def slight(self) -> bool:
        """Whether a fault of base or engine could move the version so, and no other model."""
        line, change = CHANGED_FLOORS * self.answer.floor, self.answer.change
        return not change.degraded and line < change.largest_move <= SEEN_IN_ALL * line

    def other_replica(self) -> str | None:
        """Return a replica on which the version has not moved; None where there is none."""
        via, here = self.asked.via, self.answer.run.replica
        if not isinstance(via, Replicated) or here is None:
            return None
        holding = or_none(lambda: via.replicas_of(self.asked.own.target)) or ()
        other = next((replica for replica in holding if replica != here), None)
        if other is None:
            return None
        run = or_none(lambda: self.run(self.asked.own, replica=other, part=True))
        if run is None:
            return None
        change = self.compared(self.answer.registered, run)
        return None if _moved(change) or change.documents == 0 else other

    def base(self) -> _Base:
        """Compare the base model with its run at the version's registration.

        vLLM on a CPU computes a base model's tokens with an adapter's weights where both
        share a batch. The affected documents move exactly to the adapter's values.
        """
        base = or_none(lambda: self.asked.base)
        looked = None if base is None else self.look_at(base, replica=self.answer.run.replica)
        if looked is None:
            return _Base(words="the base model could not be asked")
        change = self.compared(*looked)
        if not _moved(change):
            return _Base(change=change, words="base model unchanged")
        registered, run = looked
        mixed = "the engine mixes adapters into its base model's answers"
        lent = lent_documents(
            self.asked, self.answer, run, beside=registered[-1], now=self.answer.scores
        )
        if lent.any():
            return self.unmixed(registered, run, lent) or _Base(words=mixed)
        then = registered[-1]
        if base is not None and lent_documents(self.asked, self.answer, then, beside=run).any():
            void_base(self.asked, base, self.answer.corpus, because=mixed, at=self.occasion.at)
            return _Base(words=f"{mixed}, and did so when it was registered")
        if base is None or change.documents == 0:
            return _Base(change=change, words="base model unchanged")
        return self.steady(registered, run, self.again(base, registered, run))

    def again(
        self, base: Model, registered: Sequence[StoredRun], run: StoredRun
    ) -> StoredRun | None:
        """Return another run of this cycle in which the base has moved, or one that is made now."""
        others = (one for one in self.recent_of(base, limit=2) if one.id != run.id)
        known = next((one for one in others if _moved(self.compared(registered, one))), None)
        return known or self.ask(base, replica=self.answer.run.replica, part=False)

    def steady(
        self, registered: Sequence[StoredRun], run: StoredRun, again: StoredRun | None
    ) -> _Base:
        """Compare the base in the documents of which two runs say the same.

        A base that moved says the same twice, and of every document something else than before.
        Where adapters computed some tokens of a document, two runs differ, because other requests
        shared their batches.
        """
        if again is None:
            return _Base(words="the base model could not be asked twice")
        then, now, later = (
            scores_of(one, self.answer.corpus) for one in (registered[-1], run, again)
        )
        line = CHANGED_FLOORS * self.answer.floor
        alike = apart(now, later) <= line
        still = alike & (apart(then, later) <= line)
        differs = "differs from one reading to the next"
        if not alike.all() and still.sum() >= FEWEST_DOCUMENTS:
            change = self.compared_in(registered, again, still)
            words = f"base model unchanged in {change.documents} documents; in others it {differs}"
            return _Base(change=change, words=words)
        if alike.sum() * 2 < alike.size:
            return _Base(words=f"the base model's answer {differs}")
        change = self.compared_in(registered, again, alike)
        return _Base(change=change, words="base model unchanged")

    def unmixed(self, registered: Sequence[StoredRun], run: StoredRun, lent: Flags) -> _Base | None:
        """Compare the base in the documents that no adapter computed; None: it is not cleared.

        Another base or engine moves every document, so a few that stand still clear the base.
        """
        change = self.compared_in(registered, run, ~lent)
        if _moved(change) or change.documents < FEWEST_DOCUMENTS:
            return None
        words = (
            f"base model unchanged in {change.documents} documents; in {int(lent.sum())}"
            " the engine answered with an adapter"
        )
        return _Base(change=change, words=words)

    def siblings(self) -> _Siblings:
        found = _Siblings()
        for sibling in self.asked.registered_siblings(self.answer.corpus)[:MOST_SIBLINGS]:
            looked = self.look_at(sibling, part=True)
            if looked is None:
                continue
            change = self.compared(*looked)
            named = (sibling.target.model,) if _moved(change) else ()
            found = _Siblings(
                asked=found.asked + 1,
                moved=(*found.moved, *named),
                ratios=(*found.ratios, *[change.effect for _ in named if change.documents]),
            )
            if found.many:
                break
        return found

    def look_at(
        self, model: Model, *, replica: str | None = None, part: bool = False
    ) -> tuple[Sequence[StoredRun], StoredRun] | None:
        """Return a model's earlier runs and its newest, made now unless the last one is enough.

        None where it has no registration or gives no answer.

        A run of this cycle that has moved is enough. One that has not moved may be older
        than the change, so the model is asked again.
        """
        registered = comparable(self.asked, model, self.answer.corpus, self.occasion)
        if not registered:
            return None
        last = next(iter(self.recent_of(model)), None)
        if last is not None and (
            last.at >= self.answer.at or _moved(self.compared(registered, last))
        ):
            return registered, last
        run = self.ask(model, replica=replica, part=part)
        return None if run is None else (registered, run)

    def recent_of(self, model: Model, *, limit: int = 1) -> Sequence[StoredRun]:
        """Return the runs of this cycle, newest first."""
        roles = (RunRole.SCHEDULED, RunRole.SUSPICION, RunRole.CONFIRMATION)
        since = self.occasion.at - self.occasion.interval
        return self.asked.recent(model, self.answer.corpus, roles=roles, since=since, limit=limit)

    def ask(self, model: Model, *, replica: str | None, part: bool) -> StoredRun | None:
        try:
            return self.run(model, replica=replica, part=part)
        except ProbeFailed as error:
            waits = self.occasion.at - self.answer.at < PATIENCE
            if waits and not error.permanent and not error.asked:
                raise
            _LOG.warning("company_not_asked", model=model.target.model, reason=str(error))
        except (ProbeError, RunStopped) as error:
            _LOG.warning("company_not_asked", model=model.target.model, reason=str(error))
        return None

    def run(self, model: Model, *, replica: str | None, part: bool) -> StoredRun:
        whole = self.answer.corpus
        corpus = replace(whole, documents=whole.documents[:PART]) if part else whole
        return self.asked.run(model, corpus, RunRole.CONFIRMATION, replica=replica, of=whole)

    def compared_in(
        self, registered: Sequence[StoredRun], run: StoredRun, chosen: Flags
    ) -> PerplexityChange:
        """Compare only these documents, in the corpus's order."""
        documents = zip(self.answer.corpus.documents, chosen, strict=True)
        own = {document.id for document, is_chosen in documents if is_chosen}
        kept = tuple(one for one in run.documents if one.document in own)
        return self.compared(registered, replace(run, documents=kept))

    def compared(self, registered: Sequence[StoredRun], run: StoredRun) -> PerplexityChange:
        # documents that were not asked do not count as lost
        told = {one.document for one in run.documents}
        whole = self.answer.corpus
        corpus = replace(whole, documents=tuple(d for d in whole.documents if d.id in told))
        return compare(
            [scores_of(one, corpus) for one in registered],
            scores_of(run, corpus),
            least_floor=self.answer.floor,
        )


def apart(one: DocumentScores, other: DocumentScores) -> Floats:
    """Return how far apart documents' mean NLLs are, brought to length; infinite where unknown."""
    tokens = np.maximum(one.tokens, 1.0)
    moves = brought_to_length(np.abs(one.sum_nll - other.sum_nll) / tokens, tokens)
    return np.where(np.isnan(moves) | (one.tokens != other.tokens), np.inf, moves)


def mean_distance(one: DocumentScores, other: DocumentScores) -> float | None:
    """Return how far apart two runs are over the documents known of both; None without any."""
    moves = apart(one, other)
    known = moves[np.isfinite(moves)]
    return float(known.mean()) if known.size else None


def _moved(change: PerplexityChange) -> bool:
    return change.changed or change.degraded


def _far(change: PerplexityChange, still: Answer) -> bool:
    """Whether a base that moved so would be seen to move over the corpus that stands still."""
    line = CHANGED_FLOORS * still.floor
    return _moved(change) and change.largest_move > SURELY_SEEN * line
