"""Asking a version's models, and storing their answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar, runtime_checkable

import numpy as np
import structlog
from sqlalchemy import Connection

from detectors.parity import TopLogprobs
from detectors.perplexity import DocumentScores
from monitor.domain import EvaluationKind, Version, VersionId
from monitor.probes.asking import ModelProbe, Target, local_folder
from monitor.probes.corpus import Corpus
from monitor.probes.errors import ProbeError
from monitor.probes.perplexity import PerplexityRun
from monitor.probes.serving import ServedProbe
from monitor.probes.share import Purpose
from monitor.store.database import Database
from monitor.store.evaluation import perplexity, tasks
from monitor.store.evaluation.perplexity import RunRole, StoredRun, Subject
from monitor.store.evaluation.tasks import Claim
from monitor.store.people.words import LatestWords

T = TypeVar("T")

RESUMED_FOR = timedelta(hours=1)
"""A stopped probe's runs are used up to this age, longer than any engine is left alone."""
LOOK_EVERY = 1.0
"""Seconds between checks whether another probe waits."""
_LOG = structlog.get_logger(__name__)


class RunStopped(Exception):  # noqa: N818 - the end of a run is not a fault of ours
    """A model gave no whole run; the message says why."""


class Numberless(RunStopped):
    """The engine at ``replica`` answers for this model without log-probabilities."""

    def __init__(self, reason: str, *, replica: str | None) -> None:
        super().__init__(reason)
        self.replica = replica


@runtime_checkable
class Replicated(Protocol):
    """A probe that can choose which replica of a model it asks."""

    def replicas_of(self, target: Target) -> tuple[str, ...]:
        """Addresses of the engines that hold the model."""
        ...

    def score(self, target: Target, corpus: Corpus, *, replica: str | None = None) -> PerplexityRun:
        """Run over a corpus on one replica; None: on the replica whose turn it is."""
        ...

    def read(
        self, target: Target, texts: Sequence[str], *, replica: str | None = None
    ) -> TopLogprobs:
        """Read the model's top log-probabilities at every token of some texts, on one replica."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """The time and the reason of a version's probe.

    at
        When the probe began.
    interval
        The usual time between probes.
    role
        SCHEDULED or SUSPICION.
    last
        When the last evaluation was written; None: there is none.
    words
        The latest instructions of people when the probe began.
    returning
        Whether the version is critical or has lost its traffic.
    """

    at: datetime
    interval: timedelta
    role: RunRole
    last: datetime | None = None
    words: LatestWords = field(default_factory=LatestWords)
    returning: bool = False

    @property
    def purpose(self) -> Purpose:
        """The purpose for which its engines are asked."""
        if self.role is RunRole.SUSPICION:
            return Purpose.SUSPICION
        return Purpose.RETURN if self.returning else Purpose.ROUTINE

    @property
    def resumed_since(self) -> datetime:
        """Runs begun since this time belong to this probe, which a busy engine stopped.

        Without them a probe that gets one run at a time would begin again for ever. Runs
        from before a person's instruction do not belong to it.
        """
        times = (self.at - RESUMED_FOR, self.last, self.words.last)
        return max(one for one in times if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to ask, and the version its runs are kept with; None is a base model."""

    target: Target
    version_id: VersionId | None

    def over(self, corpus: Corpus) -> Subject:
        """Return the key of the model's runs over a corpus."""
        return Subject(version_id=self.version_id, model=self.target.model, corpus=corpus.id)


@dataclass(frozen=True, kw_only=True)
class Probing:
    """One version's probing. Every run is stored as it ends, while its task is still held."""

    database: Database
    version: Version
    via: ModelProbe
    held: Claim

    def asking_for(self, purpose: Purpose) -> Probing:
        """Return the same probing, charged to this purpose from now on.

        A routine probe ends where a suspicion waits: on a slow engine the routine would
        take minutes, which is all that the suspicion has.
        """
        if not isinstance(self.via, ServedProbe):
            return self
        routine = purpose is Purpose.ROUTINE and not self.held.requested
        way = _Way(database=self.database) if routine else _keep_on
        return replace(self, via=self.via.on(purpose, gives_way=way))

    @cached_property
    def own(self) -> Model:
        """The version itself."""
        target = Target(model=self.version.model, folder=_folder(self.version.uri))
        return Model(target=target, version_id=self.version.id)

    @cached_property
    def base(self) -> Model | None:
        """Its base model, where it can be asked."""
        target = self.via.base_of(self.own.target)
        return None if target is None else Model(target=target, version_id=None)

    @cached_property
    def corpora(self) -> tuple[Corpus, ...]:
        """The corpora of the version."""
        return self.via.corpora(self.version.adapter)

    @cached_property
    def siblings(self) -> tuple[Target, ...]:
        """Other adapters on its base, in the order of the probe; none where it cannot tell."""
        found = or_none(lambda: self.via.siblings_of(self.own.target)) or ()
        return tuple(target for target in found if target.model != self.version.model)

    def registered_siblings(self, corpus: Corpus) -> list[Model]:
        """Return the siblings that are registered over a corpus."""
        names = [target.model for target in self.siblings]
        known = self.database.run(lambda tx: perplexity.versions_of(tx, names, corpus=corpus.id))
        return [
            Model(target=target, version_id=known[target.model])
            for target in self.siblings
            if target.model in known
        ]

    def registration(self, model: Model, corpus: Corpus) -> list[StoredRun]:
        """Runs that later ones are compared with, oldest first."""
        return self.database.run(lambda tx: perplexity.registration_runs(tx, model.over(corpus)))

    def recent(
        self,
        model: Model,
        corpus: Corpus,
        *,
        roles: tuple[RunRole, ...] = tuple(RunRole),
        since: datetime | None = None,
        limit: int = 1,
    ) -> list[StoredRun]:
        """Last runs of these roles, newest first."""
        return self.database.run(
            lambda tx: perplexity.recent_runs(
                tx, model.over(corpus), roles=roles, since=since, limit=limit
            )
        )

    def run(
        self,
        model: Model,
        corpus: Corpus,
        role: RunRole,
        *,
        replica: str | None = None,
        of: Corpus | None = None,
        by: ModelProbe | None = None,
    ) -> StoredRun:
        """Measure and store; ``of`` is the whole corpus where only a part of it is asked.

        ``by`` replaces the probe for this run.

        Raises
        ------
        RunStopped
            The run ended early; the part that was read is stored.
        Numberless
            The run ended early because the engine has no numbers for this model.
        ProbeError
            No model could be asked.
        StaleLease
            The task was lost meanwhile, or the registration was retired.
        """
        via = by or self.via
        if replica is not None and isinstance(via, Replicated):
            run = via.score(model.target, corpus, replica=replica)
        else:
            run = via.score(model.target, corpus)
        kept = self.write(
            lambda tx: perplexity.insert_run(
                tx,
                model.over(of or corpus),
                role=role,
                documents=run.documents,
                engine=run.engine,
                replica=run.replica,
                dtype=run.dtype,
                source=run.source,
                weights=run.weights,
                seconds=run.seconds,
                stopped=run.stopped,
                made_by=self.held.owner,
            )
        )
        if run.stopped is not None and run.numberless:
            raise Numberless(run.stopped, replica=run.replica)
        if run.stopped is not None:
            raise RunStopped(run.stopped)
        return kept

    def read(self, model: Model, texts: Sequence[str], *, replica: str | None) -> TopLogprobs:
        """Read a model's top log-probabilities at every token of some texts; none are stored."""
        if replica is not None and isinstance(self.via, Replicated):
            return self.via.read(model.target, texts, replica=replica)
        return self.via.read(model.target, texts)

    def still_on(self, replica: str | None) -> bool:
        """Whether this replica still holds the version; always where a model has no replicas."""
        if replica is None or not isinstance(self.via, Replicated):
            return True
        return replica in self.via.replicas_of(self.own.target)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Write in one transaction; raises StaleLease where the task is no longer held.

        A registration that began before a declared change must not outlive its retirement.
        """

        def guarded(tx: Connection) -> T:
            tasks.guard(tx, self.held)
            return work(tx)

        return self.database.run(guarded)

    def void(self, runs: Collection[int], *, because: str, at: datetime) -> NoReturn:
        """Void these runs and stop: the next probe asks anew.

        Raises
        ------
        RunStopped
            Always.
        """
        self.write(lambda tx: perplexity.void_runs(tx, runs, because=because, at=at))
        raise RunStopped(because)


@dataclass(slots=True, kw_only=True)
class _Way:
    """Asks whether another version's probe waits, once a second at most."""

    database: Database
    looked: float = 0.0

    def __call__(self) -> str | None:
        now = time.monotonic()
        if now - self.looked < LOOK_EVERY:
            return None
        self.looked = now
        waits = self.database.run(
            lambda tx: tasks.somebody_waits(tx, kind=EvaluationKind.PERPLEXITY)
        )
        return "another version's probe comes first" if waits else None


def _keep_on() -> str | None:
    return None


def unchanged(asked: Probing, model: Model, corpus: Corpus) -> StoredRun | None:
    """Return a model's last run if a new one would give the same numbers."""
    roles = (RunRole.REGISTRATION, RunRole.SCHEDULED, RunRole.SUSPICION)
    last = asked.recent(model, corpus, roles=roles)
    return last[0] if last and asked.via.would_repeat(model.target, last[0]) else None


def scores_of(run: StoredRun, corpus: Corpus) -> DocumentScores:
    """Arrange a run in the corpus's order; missing documents are NaN."""
    by_id = {score.document: score for score in run.documents}
    found = [by_id.get(document.id) for document in corpus.documents]
    return DocumentScores(
        sum_nll=np.array([f.sum_nll if f else np.nan for f in found]),
        tokens=np.array([f.tokens if f else 0 for f in found], dtype=np.float64),
        size_bytes=np.array([f.bytes if f else 0 for f in found], dtype=np.float64),
        beside=np.array([f is not None and f.beside for f in found], dtype=np.bool_),
    )


def or_none(ask: Callable[[], T]) -> T | None:
    """Ask for evidence that a finding can do without; None where no model answers."""
    try:
        return ask()
    except (ProbeError, RunStopped) as error:
        _LOG.warning("probe_without_answer", reason=str(error))
        return None


def alike(one: StoredRun, other: StoredRun) -> bool:
    """Whether two runs were made the same way, so that equal weights give equal numbers."""
    return (one.engine, one.dtype, one.source) == (other.engine, other.dtype, other.source)


def replaced(before: StoredRun, run: StoredRun) -> bool:
    """Whether one replica answered with another engine, or other weights, than before."""
    if before.replica != run.replica:
        return False
    return not alike(before, run) or before.weights != run.weights


def void_base(
    asked: Probing,
    base: Model,
    corpus: Corpus,
    *,
    because: str,
    at: datetime,
    since: datetime | None = None,
) -> None:
    """Void a base model's runs from a time on: the base is registered again."""
    asked.write(
        lambda tx: perplexity.void_base(
            tx, base.target.model, corpus=corpus.id, because=because, at=at, since=since
        )
    )


def _folder(uri: str | None) -> Path | None:
    """Return the version's registered folder, where this machine can read it."""
    path = local_folder(uri or "")
    return path if path is not None and path.is_dir() else None
