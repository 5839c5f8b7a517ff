"""Whether the adapter is applied at all, and is the right one. See :mod:`detectors.identity`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from itertools import chain, islice

import structlog

from detectors import parity
from detectors.identity import (
    BASE,
    Identity,
    IdentityState,
    identify,
    near_base,
    rounding_against,
)
from detectors.parity import Parity, TopLogprobs
from detectors.perplexity import (
    CHANGED_FLOORS,
    DocumentScores,
    noise_floor,
    rounding_floor,
)
from monitor.domain import Version, VersionId
from monitor.evaluate.probing.answer import Answer, leading
from monitor.evaluate.probing.asked import (
    Model,
    Occasion,
    Probing,
    alike,
    or_none,
    scores_of,
    unchanged,
    void_base,
)
from monitor.evaluate.probing.company import apart, lent_documents, mean_distance
from monitor.evaluate.probing.comparable import WHOLE, comparable
from monitor.probes.corpus import Corpus, CorpusRole
from monitor.probes.perplexity import TOLD
from monitor.store.evaluation import identity
from monitor.store.evaluation.identity import CheckedOn, Expectations
from monitor.store.evaluation.perplexity import RunRole, StoredRun
from monitor.store.registry import versions

_LOG = structlog.get_logger(__name__)

PROMPTS = 64
LONGEST_PROMPT = 200
"""Longest prompt, in characters, over which the divergence is read."""
MOST_SIBLINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityCheck:
    """The result of a check of which weights answer, with its evidence."""

    found: Identity
    on: CheckedOn
    reading: Expectations | None = None
    """Later checks are compared with it; None unless the version is being registered."""


def check_identity(
    asked: Probing,
    answers: Sequence[Answer],
    occasion: Occasion,
    *,
    role: RunRole,
    base_moved: bool | None = None,
) -> IdentityCheck:
    """Compare the version's newest answers with its base's, its siblings' and its own of once.

    The general corpus is used where there is one. Base and siblings are registered over it
    too, so only the 64 prompts and at most one run of the base are needed. The base is asked
    about the prompts only where the documents do not tell it from the adapter: on a busy engine
    each such reading waits for a quiet moment.

    If the documents say that the base answers and the prompts say that it does not, one of
    the readings is wrong. It is most likely the base's, because engines mix adapters into
    it. The base's answers are then void, and both are read anew until two readings agree:
    here once, and again at each further probe.
    """
    general = (a for a in answers if a.corpus.role is CorpusRole.GENERAL)
    answer = next(general, leading(answers))
    base = or_none(lambda: asked.base)
    held = asked.database.run(
        lambda tx: identity.registered_gap(tx, asked.version.id, corpus=answer.corpus.id)
    )

    # how far the version lay from its base says nothing once the base itself has moved
    gap = held[0] if held and base_moved is not True else None
    registers = role is RunRole.REGISTRATION
    floor = noise_floor(answer.reference)
    siblings, sibling_floors, roundings = _siblings(asked, answer)
    if base is not None and base_moved is not True:
        roundings |= _rounding(answer, BASE, asked.registration(base, answer.corpus))

    @cache
    def mine() -> Expectations | None:
        return _reading(asked, replica=answer.run.replica)

    before = _registered(asked, mine()) if base_moved is False else None

    def identified() -> Identity:
        theirs, mixed = None, False
        if base is not None:
            theirs, mixed = _base_scores(
                *(asked, base, answer, occasion),
                registered_gap=gap,
                still=base_moved is False,
                rounding=roundings.get(BASE, 0.0),
            )
        asks = not mixed and (
            registers or near_base(answer.scores, theirs, floor=floor, rounding=roundings.get(BASE))
        )
        return identify(
            answer.scores,
            base=theirs,
            siblings=siblings,
            sibling_floors=sibling_floors,
            floor=floor,
            registered_gap=gap,
            parity=_parity(asked, mine(), base, replica=answer.run.replica) if asks else {},
            since_registration=before,
            roundings=roundings,
        )

    found = identified()
    for try_again in (True, False):
        if not found.contradictory or base is None:
            break
        _LOG.warning("identity_contradictory", version=asked.version.label, reason=found.reason)
        since = occasion.at - occasion.interval
        void_base(asked, base, answer.corpus, because=found.reason, at=occasion.at, since=since)
        found = identified() if try_again else found
    if found.state is IdentityState.WRONG_WEIGHTS and held is not None and held[1]:
        said = f"registered anew after a declared change, and {found.reason}"
        found = replace(found, reason=said)
    on = CheckedOn(
        role=role.value,
        corpus=answer.corpus.id,
        base=None if base is None else base.target.model,
        replica=answer.run.replica,
        engine=answer.run.engine,
    )
    return IdentityCheck(found=found, on=on, reading=mine() if registers else None)


def keep_identity(asked: Probing, checked: IdentityCheck) -> None:
    """Store the result of the check."""
    asked.write(
        lambda tx: identity.insert(
            tx, asked.version.id, checked.found, on=checked.on, reading=checked.reading
        )
    )


def register_base(asked: Probing, corpus: Corpus, occasion: Occasion) -> None:
    """Register the base model once for all its versions, while no version has moved.

    It is registered again beside a version that is registered a probe cycle later, or anew
    after a change; the other versions keep the earlier one.
    """
    base = or_none(lambda: asked.base)
    if base is not None and not comparable(asked, base, corpus, occasion):
        or_none(lambda: asked.run(base, corpus, RunRole.REGISTRATION))


def _base_scores(
    asked: Probing,
    base: Model,
    answer: Answer,
    occasion: Occasion,
    *,
    registered_gap: float | None,
    still: bool,
    rounding: float,
) -> tuple[DocumentScores | None, bool]:
    """Return the base's scores, and whether adapters computed some of them.

    Those are taken from the base's registration: an engine that answers for its base with another
    adapter would hide that the base answers under this one's name. A base that says what it said at
    registration, when it was far from this version, has not been lent this version's weights since:
    it counts as read alone. If it is known to stand ``still``, and says among other requests what
    the version says now, it was lent the version's new weights.
    """
    run = _base_run(asked, base, answer, occasion)
    registered = asked.registration(base, answer.corpus)
    if run is None:
        return None, False
    now = scores_of(run, answer.corpus)
    if not registered or not alike(registered[-1], run):
        return now, False
    then = scores_of(registered[-1], answer.corpus)
    mixed = lent_documents(asked, answer, run, beside=registered[-1])
    line = CHANGED_FLOORS * max(noise_floor(answer.reference), rounding)
    was_far = registered_gap is not None and registered_gap > line
    if was_far and still and now.beside is not None:
        new = lent_documents(asked, answer, run, beside=registered[-1], now=answer.scores)
        mixed |= new & now.beside
    found = now.replaced(then, where=mixed)
    if was_far and found.beside is not None:
        found = replace(found, beside=found.beside & ~(apart(found, then) <= line))
    return found, bool(mixed.any())


def _base_run(asked: Probing, base: Model, answer: Answer, occasion: Occasion) -> StoredRun | None:
    """Return the base's run of this cycle, or of the same weights here, or make one now."""
    since = occasion.at - occasion.interval
    recent = asked.recent(base, answer.corpus, since=since)
    known = (*recent, or_none(lambda: unchanged(asked, base, answer.corpus)))
    for run in known:
        if run is not None and alike(run, answer.run):
            return run
    role = RunRole.SCHEDULED if asked.registration(base, answer.corpus) else RunRole.REGISTRATION
    return or_none(lambda: asked.run(base, answer.corpus, role, replica=answer.run.replica))


def _siblings(
    asked: Probing, answer: Answer
) -> tuple[Mapping[str, DocumentScores], Mapping[str, float], dict[str, float]]:
    """Return the last runs of other adapters on this base, their floors, and roundings.

    All are by model; no new runs are made.
    """
    by_model = {one.target.model: one for one in asked.registered_siblings(answer.corpus)}
    runs, floors, roundings = {}, {}, dict[str, float]()
    for model, sibling in islice(sorted(by_model.items()), MOST_SIBLINGS):
        last = asked.recent(sibling, answer.corpus, roles=WHOLE)
        if (
            last
            and alike(last[0], answer.run)
            and not _same_weights(asked, sibling, last[0], answer)
        ):
            registered = asked.registration(sibling, answer.corpus)
            runs[model] = scores_of(last[0], answer.corpus)
            floors[model] = noise_floor([scores_of(run, answer.corpus) for run in registered])
            roundings |= _rounding(answer, model, registered)
    return runs, floors, roundings


def _rounding(answer: Answer, name: str, registered: Sequence[StoredRun]) -> dict[str, float]:
    """Return under a model's name by how much rounding may part the version from it, if known."""
    if not registered:
        return {}
    then = mean_distance(answer.reference[-1], scores_of(registered[-1], answer.corpus))
    found = rounding_against(rounding_floor(answer.run.dtype), registered=then)
    return {} if found is None else {name: found}


def _same_weights(asked: Probing, sibling: Model, theirs: StoredRun, answer: Answer) -> bool:
    """Whether a sibling is known to have these weights under another name."""
    own = asked.own.target
    same_folder = own.folder is not None and own.folder == sibling.target.folder
    # an engine may report a neighbour's folder as its source by mistake
    known = theirs.weights is not None and not theirs.weights.startswith(TOLD)
    # files that the version was not registered with are the sibling's by mistake
    same_run = known and theirs.weights == answer.run.weights and not answer.other_files
    return same_folder or same_run or _registered_alike(asked, sibling.version_id)


def _registered_alike(asked: Probing, sibling: VersionId | None) -> bool:
    if sibling is None:
        return False
    other: Version = asked.database.run(lambda tx: versions.fetch_by_id(tx, sibling))
    mine = asked.version
    hashes = mine.sha256 is not None and mine.sha256 == other.sha256
    return hashes or (mine.uri is not None and mine.uri == other.uri)


def _reading(asked: Probing, *, replica: str | None) -> Expectations | None:
    """Return what the version expects at each token of the prompts, on the replica just asked."""
    texts = prompts(asked.corpora)
    expected = or_none(lambda: asked.read(asked.own, texts, replica=replica))
    digest = sha256("\0".join(texts).encode()).hexdigest()
    return None if expected is None else Expectations(texts=digest, expected=expected)


def _registered(asked: Probing, mine: Expectations | None) -> Parity | None:
    """Return how far the version's expectations diverge from those at its registration."""
    if mine is None:
        return None
    before = asked.database.run(
        lambda tx: identity.registered_reading(tx, asked.version.id, texts=mine.texts)
    )
    return None if before is None else _compared(asked, before, mine.expected)


def _parity(
    asked: Probing, mine: Expectations | None, base: Model | None, *, replica: str | None
) -> Mapping[str, Parity]:
    """Return how the adapter's expectations diverge from its base's over the prompts.

    Both are read on the replica that was just asked: another one may apply the adapter.
    """
    if mine is None or base is None:
        return {}
    texts = prompts(asked.corpora)
    theirs = or_none(lambda: asked.read(base, texts, replica=replica))
    found = None if theirs is None else _compared(asked, mine.expected, theirs)
    return {} if found is None else {BASE: found}


def _compared(asked: Probing, one: TopLogprobs, other: TopLogprobs) -> Parity | None:
    try:
        return parity.compare(one, other)
    except ValueError as error:
        _LOG.warning("divergence_not_read", version=asked.version.label, reason=str(error))
        return None


def prompts(corpora: Sequence[Corpus]) -> list[str]:
    """Return the first 64 texts of the corpora, cut to 200 characters."""
    texts = chain.from_iterable(corpus.documents for corpus in corpora)
    return [document.text[:LONGEST_PROMPT] for document in islice(texts, PROMPTS)]
