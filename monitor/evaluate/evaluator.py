"""One claimed task, from its window to the message and the action."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from monitor import tracing
from monitor.domain import AdapterId, EvaluationKind, Version
from monitor.evaluate.commit import How, Unexplained, commit, foresee
from monitor.evaluate.evaluated import Evaluated, expected_silence, facts_of
from monitor.evaluate.explain import Explained
from monitor.evaluate.live import score
from monitor.evaluate.loading import Calibrations
from monitor.evaluate.lookback import StoredLookback
from monitor.evaluate.message import Messages
from monitor.evaluate.probing import Occasion, ProbeOutcome, probe
from monitor.evaluate.read import read
from monitor.evaluate.reading import Reading
from monitor.evaluate.settings import EvaluateSettings
from monitor.evaluate.turn import Turn, turn
from monitor.policy import ActionEvidence
from monitor.policy.rounds import LONGEST, period_of, plan_rounds
from monitor.probes.asking import ModelProbe
from monitor.probes.errors import ProbeError, ProbeFailed
from monitor.store.database import Database
from monitor.store.evaluation import evaluations, probing, tasks
from monitor.store.evaluation.perplexity import RunRole
from monitor.store.evaluation.tasks import Claim
from monitor.store.people import changes, words
from monitor.store.registry import versions
from monitor.windows import Cadence, WindowPlan, offset_of, plan

_LOG = structlog.get_logger(__name__)

PROBE_BACKOFF: Final = timedelta(minutes=5)
"""A probe that was stopped is tried again after this long, or its interval if shorter."""
WANTED_BACKOFF: Final = timedelta(seconds=30)
"""The same for a probe that a verdict or a return of traffic needs."""
DRAIN_ROUNDS: Final = 20
LOOKS: Final = 3
"""Attempts to explain and commit one evaluation; each new attempt follows another evaluation of
the version written meanwhile."""


class Ending(StrEnum):
    """The ways in which the work on a claim ends."""

    DONE = "done"
    NOT_DUE = "not_due"
    POSTPONED = "postponed"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluator:
    """Evaluates claimed tasks. Safe to use from several threads: it keeps only a cache.

    react
        Asks for a decision about moving traffic away or back, in the transaction that stores the
        verdict, so that neither is stored without the other.
    drain
        Embeds an adapter's waiting texts up to a time and returns their number.
    via
        None where no perplexity source is configured.
    """

    database: Database
    settings: EvaluateSettings
    cadences: dict[EvaluationKind, Cadence]
    tell: Messages
    react: Callable[[Connection, Version, ActionEvidence, datetime], None]
    drain: Callable[[AdapterId, datetime], int]
    via: ModelProbe | None
    _calibrations: Calibrations = field(init=False, default_factory=Calibrations)

    def report_broken(self, claim: Claim, error: Exception) -> None:
        """Tell people that this version's evaluations keep failing."""
        reason = (
            f"{claim.kind.value} evaluation failed {claim.failures + 1} times in a row:"
            f" {type(error).__name__}"
        )

        def work(tx: Connection) -> None:
            version = versions.fetch_by_id(tx, claim.version_id)
            self.tell.broken(tx, version, reason=reason, now=claim.now)

        self.database.run(work)

    def evaluate(self, claim: Claim) -> Ending:
        """Work on a claim until it is done or handed back.

        Raises
        ------
        StaleLease
            Another daemon took the task over; nothing was written.
        """
        database, settings = self.database, self.settings
        cadence = self.cadences[claim.kind]
        planned = plan(
            now=claim.now,
            cadence=cadence,
            offset=offset_of(claim.version_id, cadence.interval),
            start=claim.start,
            requested=claim.requested,
        )
        window = planned.window
        if window is None:
            database.run(
                lambda tx: tasks.finish(
                    tx, claim, next_due=planned.next_due, next_start=claim.start
                )
            )
            return Ending.NOT_DUE
        if claim.kind is EvaluationKind.LIVE:
            self._drain(claim, window.end)
        reading = database.run(
            partial(
                read,
                claim=claim,
                window=window,
                calibrations=self._calibrations,
                settings=settings,
                skipped=planned.skipped,
            )
        )
        tracing.note(adapter=reading.version.adapter, version=reading.version.name)
        if claim.kind is EvaluationKind.PERPLEXITY:
            return self._probe(claim, reading, planned)
        evaluated = score(
            claim.kind,
            reading,
            StoredLookback(database, reading, settings),
            settings,
            at=claim.now,
            probe_available=self.via is not None,
        )
        return self._settle(claim, planned, evaluated)

    def _drain(self, claim: Claim, until: datetime) -> None:
        """Embed the texts that wait for this window, within a limit; others are missing from it."""
        try:
            for _ in range(DRAIN_ROUNDS):
                if self.drain(claim.adapter_id, until) == 0:
                    return
        except (ProbeError, LookupError, OSError) as error:
            # a broken index or a dead probe must not stop the detectors that need neither
            _LOG.warning("embedding_unavailable", adapter_id=claim.adapter_id, error=str(error))

    def _settle(self, claim: Claim, planned: WindowPlan, evaluated: Evaluated) -> Ending:
        """Judge, write, act; costly parts of a message are computed before the lock."""
        reading = evaluated.reading
        how = How(
            settings=self.settings.policy,
            tell=self.tell,
            cycle=self.cadences[EvaluationKind.PERPLEXITY].interval,
        )
        look = turn(reading, reading.memory, evaluated.facts, settings=how.settings)
        foreseen = partial(foresee, evaluated=evaluated, how=how)
        drifts = bool(look.judgement.verdict.detectors)
        explained = self.database.run(foreseen) if drifts else Explained()

        def write(tx: Connection, explained: Explained) -> Turn | None:
            found = commit(
                tx,
                claim=claim,
                planned=planned,
                evaluated=evaluated,
                explained=explained,
                how=how,
            )
            if found is not None:
                self.react(tx, reading.version, found.judgement.action, found.facts.at)
            return found

        for left in reversed(range(LOOKS)):
            try:
                found = self.database.run(partial(write, explained=explained))
                break
            except Unexplained:
                if not left:
                    raise
                explained = self.database.run(foreseen)
        if found is None:
            return Ending.REPEATED
        verdict = found.judgement.verdict
        tracing.note(verdict=verdict.kind.value)
        if found.transition is not None:
            _LOG.info(
                "verdict_changed",
                version=reading.version.label,
                verdict=verdict.kind.value,
                blame=verdict.blame.value,
                reason=verdict.reason,
            )
        return Ending.DONE

    def _probe(self, claim: Claim, reading: Reading, planned: WindowPlan) -> Ending:
        """Probe and settle, or hand the task back for later where the probe was stopped."""
        began = time.monotonic()
        found = self._probed(claim, reading)
        ended_at = claim.now + timedelta(seconds=time.monotonic() - began)
        returning = reading.returns_by_probes
        if found.stopped is not None:
            self._postpone(claim, found.stopped, again_in=found.again_in, returning=returning)
            return Ending.POSTPONED
        stretched = None if returning else self._stretched(claim)
        if stretched is not None:
            # no window is missed while a round takes longer than the interval
            due = max(planned.next_due, claim.now + stretched)
            planned = replace(planned, skipped=(), next_due=due)
        facts = facts_of(
            claim.kind, reading, self.settings, at=claim.now, probe_available=self.via is not None
        )
        evaluated = Evaluated(
            reading=reading,
            facts=replace(
                facts,
                perplexity=found.fact,
                identity=found.identity and replace(found.identity, ended_at=ended_at),
                corpora=found.corpora,
            ),
            scores=found.scores,
            silence=expected_silence(reading, now=claim.now, records=self.settings.silence_records),
        )
        return self._settle(claim, planned, evaluated)

    def _stretched(self, claim: Claim) -> timedelta | None:
        """Return the version's probe interval where its engine's share forbids the usual one."""
        wanted = self.cadences[claim.kind].interval
        rounds = plan_rounds(
            self.database.run(lambda tx: probing.measured(tx, since=claim.now - LONGEST)),
            share=self.settings.probe_share,
            wanted=wanted,
        )
        period = period_of(claim.version_id, rounds, wanted=wanted)
        return period if period > wanted else None

    def _probed(self, claim: Claim, reading: Reading) -> ProbeOutcome:
        version = reading.version
        if self.via is None:
            return ProbeOutcome(stopped="no perplexity source is configured")
        held_up = self._held_up(version)
        if held_up is not None:
            return ProbeOutcome(stopped=held_up)
        last, said = self.database.run(
            lambda tx: (
                evaluations.last_finished(tx, version.id, kind=claim.kind),
                words.read(tx, version),
            )
        )
        occasion = Occasion(
            at=claim.now,
            interval=self.cadences[claim.kind].interval,
            role=RunRole.SUSPICION if claim.requested else RunRole.SCHEDULED,
            last=last,
            words=said,
            returning=reading.returns_by_probes,
        )
        about = {"adapter": version.adapter, "version": version.name}
        try:
            with tracing.span("probe", role=occasion.role.value, **about):
                found = probe(self.database, version, self.via, occasion, held=claim)
                tracing.note(outcome="done" if found.stopped is None else "stopped")
        except ProbeError as error:
            seconds = error.again_in if isinstance(error, ProbeFailed) else None
            again_in = None if seconds is None else timedelta(seconds=seconds)
            return ProbeOutcome(stopped=str(error), again_in=again_in)
        # a change began during the probe: its documents may be from before and after
        held_up = self._held_up(version)
        return found if held_up is None else ProbeOutcome(stopped=held_up)

    def _held_up(self, version: Version) -> str | None:
        """Name the change of engine or base that is under way, by the database's clock."""
        change = self.database.run(lambda tx: changes.open_change(tx, version.adapter, at=None))
        return f"{change.kind.value} change under way: {change.title}" if change else None

    def _postpone(
        self, claim: Claim, reason: str, *, again_in: timedelta | None, returning: bool
    ) -> None:
        usual = WANTED_BACKOFF if claim.requested or returning else PROBE_BACKOFF
        wait = again_in or min(usual, self.cadences[claim.kind].interval)
        _LOG.warning(
            "probe_stopped", version_id=claim.version_id, reason=reason, retry_in=str(wait)
        )
        self.database.run(
            lambda tx: tasks.postpone(
                tx, claim, until=claim.now + wait, failed=False, stopped=reason
            )
        )
