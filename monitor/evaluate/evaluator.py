"""Claimed tasks, from their windows to the message and the action."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from monitor import tracing
from monitor.domain import AdapterId, EvaluationKind, Version
from monitor.evaluate.commit import How, React, Unexplained, commit, commit_together, foresee
from monitor.evaluate.evaluated import Evaluated, expected_silence, facts_of
from monitor.evaluate.explain import Explained
from monitor.evaluate.judged import LookedAt
from monitor.evaluate.live import score
from monitor.evaluate.loading import Calibrations
from monitor.evaluate.lookback import StoredLookback
from monitor.evaluate.message import Messages
from monitor.evaluate.probing import Occasion, ProbeOutcome, probe
from monitor.evaluate.read import Look, read
from monitor.evaluate.reading import Reading
from monitor.evaluate.settings import EvaluateSettings
from monitor.evaluate.turn import turn
from monitor.policy.rounds import LONGEST, period_of, plan_rounds
from monitor.probes.asking import ModelProbe
from monitor.probes.errors import ProbeError, ProbeFailed
from monitor.store.database import Database
from monitor.store.evaluation import evaluations, probing, tasks
from monitor.store.evaluation.perplexity import RunRole
from monitor.store.evaluation.tasks import Claim, Finished
from monitor.store.people import changes, words
from monitor.store.registry import versions
from monitor.windows import Cadence, WindowPlan, offset_of, plan

_LOG = structlog.get_logger(__name__)

PROBE_BACKOFF: Final = timedelta(minutes=5)
"""A probe that was stopped is tried again after this long, or its interval if shorter."""
WANTED_BACKOFF: Final = timedelta(seconds=30)
"""The same for a probe that a verdict or a return of traffic needs."""
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
class Grouped:
    """The claims that are done, and what was found for those that are left to be settled alone.

    A claim in neither is still to be evaluated.
    """

    done: frozenset[Claim] = frozenset()
    left: Mapping[Claim, LookedAt] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluator:
    """Evaluates claimed tasks. Safe to use from several threads: it keeps only a cache.

    react
        Asks for decisions about moving traffic away or back, in the transaction that stores the
        verdicts, so that neither is stored without the other.
    embed
        Embeds the texts of adapters that wait, each up to a time, as far as it can: others are
        missing from their windows.
    via
        None where no perplexity source is configured.
    """

    database: Database
    settings: EvaluateSettings
    cadences: dict[EvaluationKind, Cadence]
    tell: Messages
    react: React
    embed: Callable[[Sequence[tuple[AdapterId, datetime]]], None]
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

    def evaluate_together(self, claims: Sequence[Claim]) -> Grouped:
        """Work on claims of one kind that were made together, as far as they can share the work.

        What fails, or is not quiet, is left to :meth:`evaluate`, one by one.
        """
        try:
            looks = self._looks(claims)
            looked = self._looked(looks)
            together = partial(commit_together, several=looked, how=self._how)
            written = self.database.run(together) if looked else {}
        except Exception:  # noqa: BLE001 (a group: each goes alone, and fails for itself)
            _LOG.exception("evaluated_one_by_one", kind=claims[0].kind.value, count=len(claims))
            return Grouped()
        waiting = {look.claim for look in looks}
        left = {one.look.claim: one for one in looked if one.look.claim.version_id not in written}
        done = [claim for claim in claims if claim not in waiting or claim.version_id in written]
        return Grouped(done=frozenset(done), left=left)

    def evaluate(self, claim: Claim, looked: LookedAt | None = None) -> Ending:
        """Work on a claim until it is done or handed back.

        ``looked``: what was found in its window, where it was looked at with others.

        Raises
        ------
        StaleLease
            Another daemon took the task over; nothing was written.
        """
        if looked is not None:
            return self._settle(looked)
        looks = self._looks([claim])
        if not looks:
            return Ending.NOT_DUE
        if claim.kind is EvaluationKind.PERPLEXITY:
            [reading] = self._read(looks)
            return self._probe(looks[0], reading)
        [found] = self._looked(looks, alone=True)
        return self._settle(found)

    def _looks(self, claims: Sequence[Claim]) -> list[Look]:
        """Plan each claim's window, and hand back those that have none yet."""
        planned = [(claim, self._planned(claim)) for claim in claims]
        early = [
            Finished(claim=claim, next_due=one.next_due, next_start=claim.start)
            for claim, one in planned
            if one.window is None
        ]
        if early:
            self.database.run(lambda tx: tasks.finish(tx, early))
        return [
            Look(claim=claim, planned=one, window=one.window)
            for claim, one in planned
            if one.window is not None
        ]

    def _planned(self, claim: Claim) -> WindowPlan:
        cadence = self.cadences[claim.kind]
        return plan(
            now=claim.now,
            cadence=cadence,
            offset=offset_of(claim.version_id, cadence.interval),
            start=claim.start,
            requested=claim.requested,
        )

    def _read(self, looks: Sequence[Look]) -> list[Reading]:
        ids = [look.claim.version_id for look in looks]
        return self.database.run(
            lambda tx: read(
                tx,
                looks,
                calibrated=self._calibrations.current(tx, ids),
                settings=self.settings,
            )
        )

    def _looked(self, looks: Sequence[Look], *, alone: bool = False) -> list[LookedAt]:
        """Read windows and score them; of several, those that fail are left out."""
        live = [look for look in looks if look.claim.kind is EvaluationKind.LIVE]
        if live:
            self.embed([(look.claim.adapter_id, look.window.end) for look in live])
        found = []
        for look, reading in zip(looks, self._read(looks) if looks else (), strict=True):
            lookback = StoredLookback(self.database, reading, self.settings)
            try:
                evaluated = score(
                    look.claim.kind,
                    reading,
                    lookback,
                    self.settings,
                    at=look.claim.now,
                    probe_available=self.via is not None,
                )
            except Exception:  # one of several goes alone, and fails for itself
                if alone:
                    raise
                continue
            found.append(LookedAt(look=look, evaluated=evaluated))
        return found

    @property
    def _how(self) -> How:
        return How(
            settings=self.settings.policy,
            tell=self.tell,
            react=self.react,
            cycle=self.cadences[EvaluationKind.PERPLEXITY].interval,
        )

    def _settle(self, looked: LookedAt) -> Ending:
        """Judge, write, act; costly parts of a message are computed before the lock."""
        evaluated, how = looked.evaluated, self._how
        reading = evaluated.reading
        tracing.note(adapter=reading.version.adapter, version=reading.version.name)
        look = turn(reading, reading.memory, evaluated.facts, settings=how.settings)
        foreseen = partial(foresee, evaluated=evaluated, how=how)
        drifts = bool(look.judgement.verdict.detectors)
        explained = self.database.run(foreseen) if drifts else Explained()
        for left in reversed(range(LOOKS)):
            try:
                alone = partial(commit, looked=looked, explained=explained, how=how)
                found = self.database.run(alone)
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

    def _probe(self, look: Look, reading: Reading) -> Ending:
        """Probe and settle, or hand the task back for later where the probe was stopped."""
        claim, planned = look.claim, look.planned
        tracing.note(adapter=reading.version.adapter, version=reading.version.name)
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
        return self._settle(LookedAt(look=replace(look, planned=planned), evaluated=evaluated))

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
