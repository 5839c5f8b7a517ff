"""Register, look, confirm, ask others, tell."""

from __future__ import annotations

from collections.abc import Sequence

from detectors.identity import Identity, IdentityState
from monitor.domain import Version
from monitor.evaluate.probing.answer import Answer, confirm, look, registered_answer
from monitor.evaluate.probing.applied import check_identity, latest_identity, register_base
from monitor.evaluate.probing.asked import Asked, Occasion, RunStopped, alike
from monitor.evaluate.probing.company import ask_company
from monitor.evaluate.probing.outcome import ProbeOutcome, fact_of, identity_fact, score_of
from monitor.policy import PerplexityFact
from monitor.probes.asking import ModelProbe
from monitor.probes.corpus import Corpus
from monitor.probes.perplexity import PerplexityRun
from monitor.probes.share import Purpose
from monitor.store import perplexity
from monitor.store.database import Database
from monitor.store.perplexity import RunRole, StoredRun
from monitor.store.tasks import Claim

REGISTRATION_REPEATS = 3
"""Repeats at registration: their largest difference is the noise floor."""


def probe(
    database: Database, version: Version, via: ModelProbe, occasion: Occasion, *, held: Claim
) -> ProbeOutcome:
    """Run the corpora through a version and compare them with its registration.

    The first probes of a version are its registration: three repeats of each corpus (their
    spread is the noise floor), and a look at whether it is applied at all. Later, a change
    counts only when a second run, at once, confirms it; then the base model, another
    replica and up to 5 siblings are asked, so that an engine that moved everything is not
    blamed on the adapter, and once more which weights answer.

    A quiet probe costs one run of each corpus. A confirmed change costs at most one run
    more of each corpus that moved, one of the base over each of two corpora, 20 documents
    of a replica and of 5 siblings, and 128 short prompts.

    Raises
    ------
    ProbeError
        The version could not be asked at all.
    StaleLease
        The task ``held`` was lost while models were asked; nothing more was written.
    """
    asked = Asked(database=database, version=version, via=via, held=held)
    try:
        missing = [
            corpus
            for corpus in asked.corpora
            if len(asked.registration(asked.own, corpus)) < REGISTRATION_REPEATS
        ]
        if missing:
            return _register(asked.asking_for(Purpose.ROUTINE), missing, occasion)
        return _compare(asked.asking_for(occasion.purpose), occasion)
    except RunStopped as stop:
        return ProbeOutcome(stopped=str(stop))


def _register(asked: Asked, missing: Sequence[Corpus], occasion: Occasion) -> ProbeOutcome:
    """Add what the registration lacks; nothing of perplexity comes of it."""
    for corpus in missing:
        _repeat(asked, corpus, occasion)
        register_base(asked, corpus, occasion)
    answers = [registered_answer(asked, corpus) for corpus in asked.corpora]
    identity = check_identity(asked, answers, occasion, role=RunRole.REGISTRATION)
    if identity.state is IdentityState.NOT_APPLIED:
        # no adapter is held to what its base model said
        _take_back(asked, missing, because=identity.reason, occasion=occasion)
    return _outcome(answers, None, identity, occasion)


def _repeat(asked: Asked, corpus: Corpus, occasion: Occasion) -> None:
    """Run until there are enough repeats.

    Raises
    ------
    RunStopped
        The engine or the weights were replaced meanwhile. What lies between two engines is
        no noise: a floor made of it would hide every smaller change for good.
    """
    known = asked.registration(asked.own, corpus)
    for _ in range(REGISTRATION_REPEATS - len(known)):
        run = asked.run(asked.own, corpus, RunRole.REGISTRATION)
        if any(_replaced(before, run) for before in known):
            because = "the engine was replaced while the version was registered"
            _take_back(asked, [corpus], because=because, occasion=occasion)
            raise RunStopped(because)
        known = asked.registration(asked.own, corpus)


def _replaced(before: StoredRun, run: PerplexityRun) -> bool:
    """Whether one place answered as another engine, or from other weights, than before."""
    if before.replica != run.replica:
        return False
    return not alike(before, run) or before.weights != run.weights


def _take_back(
    asked: Asked, corpora: Sequence[Corpus], *, because: str, occasion: Occasion
) -> None:
    """Retire what was just registered: the next probe registers it again."""
    asked.write(
        lambda tx: perplexity.retire_version(
            tx,
            asked.version.id,
            corpora=[corpus.id for corpus in corpora],
            because=because,
            at=occasion.at,
        )
    )


def _compare(asked: Asked, occasion: Occasion) -> ProbeOutcome:
    answers = [look(asked, corpus, occasion) for corpus in asked.corpora]
    if any(answer.found for answer in answers):
        asked = asked.asking_for(Purpose.CONFIRMATION)
        answers = [confirm(asked, a) if a.found else a for a in answers]
    moved = any(answer.found for answer in answers)
    company = ask_company(asked, answers, occasion) if moved else None
    if not moved and occasion.purpose is Purpose.ROUTINE:  # nobody waits
        for answer in answers:
            register_base(asked, answer.corpus, occasion)
    fact = fact_of(answers, company)
    identity = _identity(asked, answers, occasion, moved=moved)
    return _outcome(answers, fact, identity, occasion)


def _identity(
    asked: Asked, answers: Sequence[Answer], occasion: Occasion, *, moved: bool
) -> Identity:
    """Look again where something moved, or the last look did not end well."""
    last = latest_identity(asked)
    if last is not None and last.found.state is IdentityState.APPLIED and not moved:
        return last.found
    return check_identity(asked, answers, occasion, role=occasion.role)


def _outcome(
    answers: Sequence[Answer],
    fact: PerplexityFact | None,
    identity: Identity,
    occasion: Occasion,
) -> ProbeOutcome:
    return ProbeOutcome(
        fact=fact,
        identity=identity_fact(identity, at=occasion.at),
        corpora=tuple(answer.corpus.id for answer in answers),
        scores={"perplexity": score_of(answers, identity)},
    )
