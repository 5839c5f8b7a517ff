"""The perplexity evaluation: probe, compare, confirm, and look at the base model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np

from detectors import perplexity as maths
from detectors.perplexity import DocumentScores, PerplexityChange
from detectors.types import Score
from monitor.domain import Version
from monitor.policy import PerplexityFact
from monitor.probes.perplexity import Corpus, PerplexityRun
from monitor.store import perplexity as runs
from monitor.store.database import Database
from monitor.store.perplexity import RunRole, StoredRun

REGISTRATION_REPEATS = 3
"""Repeats at registration: their largest difference is the noise floor."""


class Probe(Protocol):
    """Scores the fixed corpus through serving."""

    @property
    def corpus(self) -> Corpus: ...

    def measure(self, model: str) -> PerplexityRun:
        """One run through the served model; raises ProbeError."""
        ...

    def base_of(self, model: str) -> str | None:
        """Name under which the engine serves the base of this adapter, if it says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeOutcome:
    """What a perplexity evaluation found; ``stopped`` says why there is no answer."""

    fact: PerplexityFact | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    stopped: str | None = None


def probe(database: Database, version: Version, via: Probe, *, at: datetime) -> ProbeOutcome:
    """Run the corpus through the served version and compare it with its registration.

    The first probes of a version are its registration: three repeats of it (their spread
    is the noise floor) and one of its base model. A change counts only when a second run,
    at once, confirms it; then the base model is probed, so that an engine that moved
    everything is not blamed on the adapter. ``at`` is when the probe began: a crossing
    after it is not answered by it.
    """
    asked = _Probing(database, version, via)
    registered = asked.registration(version.model)
    if len(registered) < REGISTRATION_REPEATS:
        return asked.register(REGISTRATION_REPEATS - len(registered))
    run = asked.run(version.model, RunRole.SCHEDULED)
    if run.stopped is not None:
        return ProbeOutcome(stopped=run.stopped)
    previous = asked.previous_change(registered)
    change = maths.compare(registered, _scores(run, via.corpus), previous=previous)
    if change.documents == 0:
        return ProbeOutcome(stopped="no document that was registered could be scored")
    if not (change.changed or change.degraded):
        asked.register_base()
        return _outcome(change, base_moved=None, at=at)
    again = asked.run(version.model, RunRole.CONFIRMATION)
    if again.stopped is not None:
        return ProbeOutcome(stopped=again.stopped)
    confirmed = maths.compare(registered, _scores(again, via.corpus), previous=change)
    base_moved = asked.base_moved() if confirmed.changed or confirmed.degraded else None
    return _outcome(confirmed, base_moved=base_moved, at=at)


def _outcome(change: PerplexityChange, *, base_moved: bool | None, at: datetime) -> ProbeOutcome:
    fact = PerplexityFact(
        at=at,
        changed=change.changed,
        degraded=change.degraded,
        ratio=change.effect,
        low=change.interval[0],
        high=change.interval[1],
        base_moved=base_moved,
        reason="; ".join(change.reasons),
    )
    return ProbeOutcome(fact=fact, scores={"perplexity": maths.as_score(change)})


class _Probing:
    """One version's probing: runs are stored as they end, whatever comes after."""

    def __init__(self, database: Database, version: Version, via: Probe) -> None:
        self._database = database
        self._version = version
        self._via = via

    def registration(self, model: str) -> list[DocumentScores]:
        """Registration runs of this model over this corpus, oldest first."""
        stored = self._database.run(
            lambda tx: runs.registration_runs(tx, self._version.id, corpus=self._via.corpus.id)
        )
        return [_scores(run, self._via.corpus) for run in stored if run.model == model]

    def register(self, repeats: int) -> ProbeOutcome:
        """Add what the registration lacks; no finding comes of it."""
        for _ in range(repeats):
            run = self.run(self._version.model, RunRole.REGISTRATION)
            if run.stopped is not None:
                return ProbeOutcome(stopped=run.stopped)
        self.register_base()
        registered = self.registration(self._version.model)
        change = maths.compare(registered, registered[-1])
        return ProbeOutcome(scores={"perplexity": maths.as_score(change)})

    def register_base(self) -> None:
        """Register the base model unless it is, while this version shows that nothing moved."""
        base = self._base()
        if base is not None and not self.registration(base):
            self.run(base, RunRole.REGISTRATION)

    def run(self, model: str, role: RunRole) -> PerplexityRun:
        """Measure and store."""
        run = self._via.measure(model)
        self._database.run(
            lambda tx: runs.insert_run(
                tx,
                version_id=self._version.id,
                corpus=self._via.corpus.id,
                model=model,
                replica=None,
                engine=run.engine,
                role=role,
                documents=run.documents,
                stopped=run.stopped,
            )
        )
        return run

    def previous_change(self, registered: Sequence[DocumentScores]) -> PerplexityChange | None:
        """Compare the run before the newest one, for "+5 % twice"."""
        recent = self._database.run(
            lambda tx: runs.recent_runs(tx, self._version.id, corpus=self._via.corpus.id, limit=10)
        )
        own = [
            run
            for run in recent
            if run.model == self._version.model and run.role is not RunRole.REGISTRATION
        ]
        if len(own) < 2:  # noqa: PLR2004 (the newest and the one before)
            return None
        return maths.compare(registered, _scores(own[1], self._via.corpus))

    def base_moved(self) -> bool | None:
        """Whether the base model's own probe moved too; None where it cannot be asked."""
        base = self._base()
        before = self.registration(base) if base is not None else []
        if base is None or not before:
            return None
        run = self.run(base, RunRole.CONFIRMATION)
        if run.stopped is not None:
            return None
        change = maths.compare(before, _scores(run, self._via.corpus))
        return change.changed or change.degraded

    def _base(self) -> str | None:
        return self._via.base_of(self._version.model)


def _scores(run: PerplexityRun | StoredRun, corpus: Corpus) -> DocumentScores:
    by_id = {score.document: score for score in run.documents}
    found = [by_id.get(document.id) for document in corpus.documents]
    return DocumentScores(
        sum_nll=np.array([f.sum_nll if f else np.nan for f in found]),
        tokens=np.array([f.tokens if f else 0 for f in found], dtype=np.float64),
        size_bytes=np.array([f.bytes if f else 0 for f in found], dtype=np.float64),
    )
