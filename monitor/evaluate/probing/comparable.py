"""The runs of other models at a version's registration, from which their moves are measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.evaluate.probing.asked import Model, Occasion, Probing
from monitor.probes.corpus import Corpus
from monitor.store.evaluation import perplexity
from monitor.store.evaluation.perplexity import RunRole, StoredRun

WHOLE = (RunRole.REGISTRATION, RunRole.SCHEDULED, RunRole.SUSPICION)
"""Roles whose runs are over all documents."""


def comparable(
    asked: Probing, model: Model, corpus: Corpus, occasion: Occasion
) -> Sequence[StoredRun]:
    """Return the runs of a base model or a sibling that match the version's registration.

    After a declared change that named only some versions, such a version is registered
    anew, with numbers of the new engine. An older registration of its base or of a sibling
    holds the old engine's numbers. Compared with these, they would always seem to have
    moved, and each later damage of the version would be blamed on them. A base is therefore
    registered again beside such a version, and a sibling is compared with its first whole
    run since. For a version that was not named nothing changes: its base has moved.

    The result is empty where the model was not asked at that time, or its runs are no
    longer kept.
    """
    registered = asked.registration(model, corpus)
    own = asked.registration(asked.own, corpus)
    if not registered or not own:
        return registered
    since = _since(asked, corpus, own[0].at - occasion.interval)
    if model.version_id is None:
        return [run for run in registered if run.at >= since][:1]
    if registered[0].at >= since:
        return registered
    first = asked.database.run(
        lambda tx: perplexity.first_run(tx, model.over(corpus), roles=WHOLE, since=since)
    )
    # a much later run may have moved already
    return [] if first is None or first.at > own[-1].at + occasion.interval else [first]


def _since(asked: Probing, corpus: Corpus, cycle: datetime) -> datetime:
    """Return when the registration's runs begin: with its probe cycle, after any change."""
    retired = asked.database.run(lambda tx: perplexity.last_retired(tx, asked.own.over(corpus)))
    return cycle if retired is None else max(cycle, retired)
