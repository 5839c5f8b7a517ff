"""Who moved as well? An engine upgrade must be one ticket, not one for each adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from detectors.perplexity import PerplexityChange, compare
from monitor.evaluate.probing.answer import Answer
from monitor.evaluate.probing.asked import (
    Asked,
    Model,
    Occasion,
    Replicated,
    RunStopped,
    or_none,
    scores_of,
)
from monitor.probes.corpus import Corpus, CorpusRole
from monitor.probes.errors import ProbeError
from monitor.probes.perplexity import PerplexityRun
from monitor.store import perplexity
from monitor.store.perplexity import RunRole, StoredRun

_LOG = structlog.get_logger(__name__)

MOST_SIBLINGS = 5
FEWEST_MOVED = 2
SHARE_MOVED = 0.2
PART = 20
"""Documents that others are asked: a change of base or engine moves every one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Who moved together with a version.

    base_moved
        The base model did, or enough siblings; None where neither could be asked.
    one_replica
        The version moved on one replica and not on another.
    words
        What was asked and what it showed.
    """

    base_moved: bool | None
    one_replica: bool = False
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Siblings:
    asked: int = 0
    moved: tuple[str, ...] = ()

    @property
    def many(self) -> bool:
        return len(self.moved) >= max(FEWEST_MOVED, SHARE_MOVED * self.asked)


def ask_company(asked: Asked, answers: Sequence[Answer], occasion: Occasion) -> Company:
    """Ask the base, then another replica, then up to 5 siblings, until one explains the move.

    The general corpus is asked where it moved: all versions are registered over it.
    """
    moved = [answer for answer in answers if answer.found]
    general = (a for a in moved if a.corpus.role is CorpusRole.GENERAL)
    answer = next(general, moved[0])
    base = _base(asked, answer, occasion)
    if base is not None and _moved(base):
        return Company(base_moved=True, words=f"the base model moved too ({base.effect:+.1%})")
    base_words = "the base model could not be asked" if base is None else "base model unchanged"
    if (other := _other_replica(asked, answer)) is not None:
        return Company(
            base_moved=None if base is None else False,
            one_replica=True,
            words=f"{base_words}; unchanged on replica {other}: {answer.run.replica} alone moved",
        )
    siblings = _siblings(asked, answer, occasion)
    said = f"{len(siblings.moved)} of {siblings.asked} siblings moved"
    if siblings.many:
        named = ", ".join(siblings.moved)
        return Company(base_moved=True, words=f"{said} too ({named})")
    cleared = base is not None or siblings.asked >= FEWEST_MOVED
    return Company(
        base_moved=False if cleared else None,
        words=f"{base_words}; {said}" if siblings.asked else base_words,
    )


def _moved(change: PerplexityChange) -> bool:
    return change.changed or change.degraded


def _base(asked: Asked, answer: Answer, occasion: Occasion) -> PerplexityChange | None:
    """Compare the base model with its registration; None where it cannot be.

    A run of this cycle that has moved already is proof enough; one that has not may be
    older than the change, so the base is then asked anew.
    """
    base = or_none(lambda: asked.base)
    if base is None:
        return None
    return _lately(asked, base, answer, occasion) or _asked_now(asked, base, answer)


def _siblings(asked: Asked, answer: Answer, occasion: Occasion) -> _Siblings:
    found = _Siblings()
    for sibling in _registered_siblings(asked, answer.corpus):
        change = _lately(asked, sibling, answer, occasion) or _asked_now(
            asked, sibling, answer, part=True
        )
        if change is None:
            continue
        named = (sibling.target.model,) if _moved(change) else ()
        found = _Siblings(asked=found.asked + 1, moved=(*found.moved, *named))
        if found.many:
            break
    return found


def _registered_siblings(asked: Asked, corpus: Corpus) -> list[Model]:
    targets = or_none(lambda: asked.via.siblings_of(asked.own.target)) or ()
    by_model = {target.model: target for target in targets}
    known = asked.database.run(
        lambda tx: perplexity.versions_of(tx, by_model.keys(), corpus=corpus.id)
    )
    registered = [
        Model(target=by_model[model], version_id=version_id)
        for model, version_id in sorted(known.items())
    ]
    return registered[:MOST_SIBLINGS]


def _lately(
    asked: Asked, model: Model, answer: Answer, occasion: Occasion
) -> PerplexityChange | None:
    """A comparison of the last run of this probe cycle, if that shows a move."""
    roles = (RunRole.SCHEDULED, RunRole.SUSPICION, RunRole.CONFIRMATION)
    since = occasion.at - occasion.interval
    last = asked.recent(model, answer.corpus, roles=roles, since=since)
    registered = asked.registration(model, answer.corpus)
    if not last or not registered:
        return None
    change = _compare(registered, last[0], answer)
    return change if _moved(change) else None


def _asked_now(
    asked: Asked, model: Model, answer: Answer, *, part: bool = False
) -> PerplexityChange | None:
    """Ask a model now; None where it is not registered or gives no answer."""
    registered = asked.registration(model, answer.corpus)
    if not registered:
        return None
    corpus = _part(answer.corpus) if part else answer.corpus
    try:
        run = asked.run(model, corpus, RunRole.CONFIRMATION, of=answer.corpus)
    except (ProbeError, RunStopped) as error:
        _LOG.warning("company_not_asked", model=model.target.model, reason=str(error))
        return None
    return _compare(registered, run, answer)


def _compare(
    registered: Sequence[StoredRun], run: PerplexityRun | StoredRun, answer: Answer
) -> PerplexityChange:
    return compare(
        [scores_of(one, answer.corpus) for one in registered],
        scores_of(run, answer.corpus),
        least_floor=answer.change.noise_floor,
    )


def _other_replica(asked: Asked, answer: Answer) -> str | None:
    """Name a replica on which the version has not moved; None where there is none."""
    if not isinstance(asked.via, Replicated) or answer.run.replica is None:
        return None
    via = asked.via
    holding = or_none(lambda: via.replicas_of(asked.own.target)) or ()
    others = [replica for replica in holding if replica != answer.run.replica]
    if not others:
        return None
    try:
        run = asked.run(
            asked.own,
            _part(answer.corpus),
            RunRole.CONFIRMATION,
            replica=others[0],
            of=answer.corpus,
        )
    except (ProbeError, RunStopped) as error:
        _LOG.warning("replica_not_asked", replica=others[0], reason=str(error))
        return None
    change = compare(answer.reference, scores_of(run, answer.corpus))
    return None if _moved(change) or change.documents == 0 else others[0]


def _part(corpus: Corpus) -> Corpus:
    return replace(corpus, documents=corpus.documents[:PART])
