"""The probe: register, measure, confirm, ask others, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detectors.identity import Identity, IdentityState
from monitor.domain import Version
from monitor.evaluate.probing.answer import (
    Answer,
    confirm,
    look,
    of_other_weights,
    of_same_weights,
    registered_answer,
    still_there,
)
from monitor.evaluate.probing.applied import check_identity, keep_identity, register_base
from monitor.evaluate.probing.asked import Numberless, Occasion, Probing, RunStopped, replaced
from monitor.evaluate.probing.company import ask_company
from monitor.evaluate.probing.numbers import without_numbers
from monitor.evaluate.probing.outcome import ProbeOutcome, fact_of, identity_fact, score_of
from monitor.policy import PerplexityFact
from monitor.policy.probed import WRONG
from monitor.probes.asking import ModelProbe
from monitor.probes.corpus import Corpus
from monitor.probes.serving import ServedProbe
from monitor.probes.share import Purpose
from monitor.store.database import Database
from monitor.store.evaluation import identity, perplexity
from monitor.store.evaluation.perplexity import RunRole, StoredRun
from monitor.store.evaluation.tasks import Claim
from monitor.store.people import words

REGISTRATION_REPEATS = 3
"""Repeats at registration: as the corpus stands, in the opposite order, and beside other
requests. Their largest difference is the noise floor, because production varies in the same
ways."""


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
    asked = Probing(database=database, version=version, via=via, held=held)
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


def _register(asked: Probing, missing: Sequence[Corpus], occasion: Occasion) -> ProbeOutcome:
    """Add the missing runs of the registration; they give no perplexity finding."""
    for corpus in missing:
        _repeat(asked, corpus, occasion)
        register_base(asked, corpus, occasion)
    answers = [registered_answer(asked, corpus) for corpus in asked.corpora]
    checked = check_identity(asked, answers, occasion, role=RunRole.REGISTRATION)
    keep_identity(asked, checked)
    if checked.found.state is IdentityState.NOT_APPLIED:
        # no adapter may be compared with its base model's answers
        _take_back(asked, missing, because=checked.found.reason, occasion=occasion)
    return _outcome(answers, None, checked.found, occasion)


def _repeat(asked: Probing, corpus: Corpus, occasion: Occasion) -> None:
    """Run until there are enough repeats.

    Raises
    ------
    RunStopped
        The engine or the weights were replaced meanwhile. A difference between two engines is
        no noise: a floor made of it would hide every smaller change for good.
    """
    known = asked.registration(asked.own, corpus)
    for number in range(len(known), REGISTRATION_REPEATS):
        run = _repeated(asked, corpus, number)
        if any(replaced(before, run) for before in known):
            because = "the engine was replaced while the version was registered"
            _take_back(asked, [corpus], because=because, occasion=occasion)
            raise RunStopped(because)
        known = asked.registration(asked.own, corpus)


def _repeated(asked: Probing, corpus: Corpus, number: int) -> StoredRun:
    """Make one of the repeats, each in its own manner."""
    manner = corpus if number == 0 else replace(corpus, documents=corpus.documents[::-1])
    is_last = number == REGISTRATION_REPEATS - 1
    by = asked.via.crowded() if is_last and isinstance(asked.via, ServedProbe) else None
    return asked.run(asked.own, manner, RunRole.REGISTRATION, of=corpus, by=by)


def _take_back(
    asked: Probing, corpora: Sequence[Corpus], *, because: str, occasion: Occasion
) -> None:
    """Retire the new registration: the next probe registers again."""
    asked.write(
        lambda tx: perplexity.retire_version(
            tx,
            asked.version.id,
            corpora=[corpus.id for corpus in corpora],
            because=because,
            at=occasion.at,
        )
    )


def _compare(asked: Probing, occasion: Occasion) -> ProbeOutcome:
    try:
        looked = [look(asked, corpus, occasion) for corpus in asked.corpora]
        answers = of_same_weights(asked, looked, occasion)
    except Numberless as stop:
        return without_numbers(asked, stop, occasion)
    if any(answer.found for answer in answers):
        asked = asked.asking_for(Purpose.CONFIRMATION)
        answers = [confirm(asked, a) if a.found else a for a in answers]
    moved = any(answer.found for answer in answers)
    company = ask_company(asked, answers, occasion) if moved else None
    answers = still_there(asked, answers)
    if not moved and occasion.purpose is Purpose.ROUTINE:  # nobody waits
        for answer in answers:
            register_base(asked, answer.corpus, occasion)
    last = asked.database.run(lambda tx: identity.latest(tx, asked.version.id))
    if last is not None and last.found.state is IdentityState.APPLIED and not moved:
        return _outcome(answers, fact_of(answers, company), last.found, occasion)
    # the probe moved, or the last check found a fault
    checked = check_identity(
        asked,
        answers,
        occasion,
        role=occasion.role,
        base_moved=company.base_moved if company is not None else None,
    )
    if moved or checked.found.state in WRONG:
        _require_silence(asked, answers)
    keep_identity(asked, checked)
    if checked.found.state is IdentityState.WRONG_WEIGHTS:
        answers = [of_other_weights(answer) for answer in answers]
    return _outcome(answers, fact_of(answers, company), checked.found, occasion)


def _require_silence(asked: Probing, answers: Sequence[Answer]) -> None:
    """Void the runs if a person intervened while they were made.

    Raises
    ------
    RunStopped
        The route was set, an incident judged or a change declared meanwhile.
    """
    since = min(answer.measured_from for answer in answers)
    said = asked.database.run(lambda tx: words.read(tx, asked.version)).since(since)
    if said is not None:
        runs = [run for answer in answers for run in answer.runs]
        because = f"{said}, while it was measured"
        asked.void([run.id for run in runs], because=because, at=max(run.at for run in runs))


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
