"""Read the facts for the prechecks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from detectors.perplexity import DocumentScores
from monitor.domain import Version
from monitor.store.evaluation import identity, perplexity
from monitor.store.evaluation.perplexity import StoredRun, Subject
from monitor.store.registry import inspections
from monitor.store.traffic import trials
from monitor.traffic.trial.prechecks import SameCorpus, VersionFacts


def facts_of(
    tx: Connection, version: Version, control: Version, *, served: bool, probed: bool
) -> VersionFacts:
    """Read the known facts about a version beside the one in charge."""
    inspected = inspections.fetch(tx, version.id)
    checked = identity.latest(tx, version.id)
    corpora = trials.common_corpora(tx, version.id, control.id)
    compared = (_same_corpus(tx, version, control, corpus) for corpus in corpora)
    return VersionFacts(
        weights=(inspected.state, inspected.reason) if inspected else None,
        awaited=inspected is None and _local(version.uri),
        served=served,
        probed=probed,
        identity=checked.found if checked else None,
        corpora=tuple(one for one in compared if one is not None),
    )


def _local(uri: str | None) -> bool:
    return (uri or "").startswith(("/", "file:"))


def _same_corpus(
    tx: Connection, version: Version, control: Version, corpus: str
) -> SameCorpus | None:
    stable, canary = (
        perplexity.registration_runs(tx, Subject(version_id=one.id, model=one.model, corpus=corpus))
        for one in (control, version)
    )
    names = [_names(run) for run in (*stable, *canary)]
    both = sorted(frozenset.intersection(*names)) if stable and canary else []
    if not both:
        return None
    return SameCorpus(
        corpus=corpus,
        stable=[_scores(run, both) for run in stable],
        canary=_scores(canary[-1], both),
    )


def _names(run: StoredRun) -> frozenset[str]:
    return frozenset(document.document for document in run.documents)


def _scores(run: StoredRun, names: Sequence[str]) -> DocumentScores:
    by_name = {document.document: document for document in run.documents}
    found = [by_name[name] for name in names]
    return DocumentScores(
        sum_nll=np.array([document.sum_nll for document in found]),
        tokens=np.array([float(document.tokens) for document in found]),
        size_bytes=np.array([float(document.bytes) for document in found]),
    )
