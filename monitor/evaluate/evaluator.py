"""One claimed task, from its window to what is told and done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, assert_never

import structlog
from sqlalchemy import Connection

from alerts.types import Severity as AlertSeverity
from monitor.domain import AdapterId, ArmKind, EvaluationKind, Interval, Severity, Version
from monitor.evaluate.calibrated import Calibrations
from monitor.evaluate.commit import Committed, Outcome, commit, expected_silence
from monitor.evaluate.live import covered, effect_size, find_all
from monitor.evaluate.lookback import StoredLookback
from monitor.evaluate.message import Teller
from monitor.evaluate.probing import Occasion, ProbeOutcome, probe
from monitor.evaluate.reading import Reading, facts_of, read
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import ActionEvidence, Facts
from monitor.policy.rounds import LONGEST, period_of, plan_rounds
from monitor.probes.asking import ModelProbe
from monitor.probes.errors import ProbeError, ProbeFailed
from monitor.store import changes, evaluations, probing, routes, tasks, versions, words
from monitor.store.database import Database
from monitor.store.perplexity import RunRole
from monitor.store.tasks import Claim
from monitor.windows import Cadence, Plan, offset_of, plan

_LOG = structlog.get_logger(__name__)

PROBE_BACKOFF = timedelta(minutes=5)
"""A probe that was stopped is tried again after this long, or its interval if shorter."""
WANTED_BACKOFF = timedelta(seconds=30)
"""The same for a probe that a verdict or the return of traffic waits for."""
DRAIN_ROUNDS = 20


class Ending(StrEnum):
    """How working on a claim ended."""

    DONE = "done"
    NOT_DUE = "not_due"
    POSTPONED = "postponed"
    REPEATED = "repeated"


class Reaction(Protocol):
    """Has it decided, by others and later, whether traffic moves: away, or back.

    In the transaction that stores the verdict, so that neither stands without the other.
    """

    def __call__(
        self, tx: Connection, version: Version, evidence: ActionEvidence, *, now: datetime
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the evaluator is composed of; the daemon hands these in.

    ``drain(adapter_id, until)`` embeds waiting texts and says how many; ``via`` is None
    where no perplexity source is configured.
    """

    database: Database
    settings: EvaluateSettings
    cadences: dict[EvaluationKind, Cadence]
    tell: Teller
    react: Reaction
    drain: Callable[[AdapterId, datetime], int]
    via: ModelProbe | None


class Evaluator:
    """Evaluates claimed tasks. Safe to use from several threads: it keeps only a cache."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._calibrations = Calibrations()

    def report_broken(self, claim: Claim, error: Exception) -> None:
        """Tell people that this version's evaluations keep failing, whatever the reason."""
        reason = (
            f"{claim.kind.value} evaluation failed {claim.failures + 1} times in a row:"
            f" {type(error).__name__}"
        )

        def work(tx: Connection) -> None:
            version = versions.fetch_by_id(tx, claim.version_id)
            self._tools.tell.broken(tx, version, reason=reason, now=claim.now)

        self._tools.database.run(work)

    def evaluate(self, claim: Claim) -> Ending:
        """Work on a claim until it is done or handed back.

        Raises
        ------
        StaleLease
            Another daemon took the task over; nothing was written.
        """
        cadence = self._tools.cadences[claim.kind]
        planned = plan(
            now=claim.now,
            cadence=cadence,
            offset=offset_of(claim.version_id, cadence.interval),
            start=claim.start,
            requested=claim.requested,
        )
        if planned.window is None:
            return self._not_due(claim, planned)
        outcome = self._outcome(claim, planned, planned.window)
        return Ending.POSTPONED if outcome is None else self._commit(outcome)

    def _outcome(self, claim: Claim, planned: Plan, window: Interval) -> Outcome | None:
        match claim.kind:
            case EvaluationKind.HARD | EvaluationKind.LIVE:
                return self._live(claim, planned, window)
            case EvaluationKind.PERPLEXITY:
                return self._perplexity(claim, planned, window)
            case _:
                assert_never(claim.kind)

    def _not_due(self, claim: Claim, planned: Plan) -> Ending:
        self._tools.database.run(
            lambda tx: tasks.finish(tx, claim, next_due=planned.next_due, next_start=claim.start)
        )
        return Ending.NOT_DUE

    def _live(self, claim: Claim, planned: Plan, window: Interval) -> Outcome:
        if claim.kind is EvaluationKind.LIVE:
            self._drain(claim, window.end)
        reading, in_charge_since = self._tools.database.run(
            lambda tx: self._read(tx, claim, planned, window)
        )
        lookback = StoredLookback(self._tools.database, reading, self._tools.settings)
        findings = find_all(claim.kind, reading, lookback, self._tools.settings)
        return Outcome(
            claim=claim,
            window=window,
            skipped=planned.skipped,
            next_due=planned.next_due,
            reading=reading,
            facts=self._facts(
                claim,
                reading,
                detectors=tuple(f.fact for f in findings),
                covered=covered(claim.kind, reading, findings, self._tools.settings, window=window),
                **self._awaited(reading),
            ),
            findings=findings,
            effect_size=effect_size(findings) if claim.kind is EvaluationKind.LIVE else None,
            silence=self._silence(reading, in_charge_since, now=claim.now),
            started_at=claim.now,
        )

    def _silence(
        self, reading: Reading, in_charge_since: datetime | None, *, now: datetime
    ) -> AlertSeverity | None:
        records = self._tools.settings.silence_records
        return expected_silence(reading, now=now, records=records, in_charge_since=in_charge_since)

    def _read(
        self, tx: Connection, claim: Claim, planned: Plan, window: Interval
    ) -> tuple[Reading, datetime | None]:
        reading = read(
            tx,
            claim,
            window,
            calibrations=self._calibrations,
            settings=self._tools.settings,
            skipped=planned.skipped,
        )
        route = routes.get(tx, reading.version.adapter)
        in_charge = route is not None and any(
            arm.version == reading.version.name and arm.weight > 0 for arm in route.arms
        )
        return reading, route.since if route is not None and in_charge else None

    def _drain(self, claim: Claim, until: datetime) -> None:
        """Embed what waits for this window, bounded; what is left is absent from it."""
        try:
            for _ in range(DRAIN_ROUNDS):
                if self._tools.drain(claim.adapter_id, until) == 0:
                    return
        except (ProbeError, LookupError, OSError) as error:
            # a broken index or a dead probe must not stop the detectors that need neither
            _LOG.warning("embedding_unavailable", adapter_id=claim.adapter_id, error=str(error))

    def _facts(self, claim: Claim, reading: Reading, **found: object) -> Facts:
        return facts_of(
            reading,
            self._tools.settings,
            at=claim.now,
            kind=claim.kind,
            probe_available=self._tools.via is not None,
            **found,
        )

    def _awaited(self, reading: Reading) -> dict[str, object]:
        """When a probe that somebody waits for is tried next, and why it still waits."""
        if reading.memory.unmeasured_since is None and not reading.memory.doubted:
            return {}
        found = self._tools.database.run(
            lambda tx: tasks.awaited(
                tx, version_id=reading.version.id, kind=EvaluationKind.PERPLEXITY
            )
        )
        return {"probe_stopped": found.stopped, "probe_due": found.due}

    def _perplexity(self, claim: Claim, planned: Plan, window: Interval) -> Outcome | None:
        """Probe; None when it was stopped and the task was handed back for later."""
        reading, in_charge_since = self._tools.database.run(
            lambda tx: self._read(tx, claim, planned, window)
        )
        returning = self._returning(reading)
        found = self._probed(claim, reading.version, returning=returning)
        if found.stopped is not None:
            self._postpone(claim, found.stopped, again_in=found.again_in, returning=returning)
            return None
        stretched = None if returning else self._stretched(claim)
        return Outcome(
            claim=claim,
            window=window,
            # a round that takes longer than the interval misses nothing
            skipped=planned.skipped if stretched is None else (),
            next_due=max(planned.next_due, claim.now + (stretched or timedelta())),
            reading=reading,
            facts=self._facts(
                claim,
                reading,
                perplexity=found.fact,
                identity=found.identity,
                corpora=found.corpora,
            ),
            scores=found.scores,
            returning=returning,
            silence=self._silence(reading, in_charge_since, now=claim.now),
            started_at=claim.now,
        )

    def _returning(self, reading: Reading) -> bool:
        """Whether probes alone bring the version back: it is critical, or lost its traffic."""
        verdict, version = reading.memory.verdict, reading.version
        if verdict is not None and verdict.severity is Severity.PAGE:
            return True
        route = self._tools.database.run(lambda tx: routes.get(tx, version.adapter))
        return route is not None and any(
            arm.arm is ArmKind.STABLE and arm.version == version.name and arm.weight == 0
            for arm in route.arms
        )

    def _stretched(self, claim: Claim) -> timedelta | None:
        """How often the version can be probed, where its engine's share is short of the wish."""
        wanted = self._tools.cadences[claim.kind].interval
        rounds = plan_rounds(
            self._tools.database.run(lambda tx: probing.measured(tx, since=claim.now - LONGEST)),
            share=self._tools.settings.probe_share,
            wanted=wanted,
        )
        period = period_of(claim.version_id, rounds, wanted=wanted)
        return period if period > wanted else None

    def _probed(self, claim: Claim, version: Version, *, returning: bool) -> ProbeOutcome:
        if self._tools.via is None:
            return ProbeOutcome(stopped="no perplexity source is configured")
        held_up = self._held_up(version)
        if held_up is not None:
            return ProbeOutcome(stopped=held_up)
        last, said = self._tools.database.run(
            lambda tx: (
                evaluations.last_finished(tx, version.id, kind=claim.kind),
                words.read(tx, version),
            )
        )
        occasion = Occasion(
            at=claim.now,
            interval=self._tools.cadences[claim.kind].interval,
            role=RunRole.SUSPICION if claim.requested else RunRole.SCHEDULED,
            last=last,
            words=said,
            returning=returning,
        )
        try:
            found = probe(self._tools.database, version, self._tools.via, occasion, held=claim)
        except ProbeError as error:
            seconds = error.again_in if isinstance(error, ProbeFailed) else None
            again_in = None if seconds is None else timedelta(seconds=seconds)
            return ProbeOutcome(stopped=str(error), again_in=again_in)
        # half of the documents may have been read before the change began, half after it
        held_up = self._held_up(version)
        return found if held_up is None else ProbeOutcome(stopped=held_up)

    def _held_up(self, version: Version) -> str | None:
        """Name the change of engine or base that is under way, by the database's clock."""
        change = self._tools.database.run(
            lambda tx: changes.open_change(tx, version.adapter, at=None)
        )
        return f"{change.kind.value} change under way: {change.title}" if change else None

    def _postpone(
        self, claim: Claim, reason: str, *, again_in: timedelta | None, returning: bool
    ) -> None:
        usual = WANTED_BACKOFF if claim.requested or returning else PROBE_BACKOFF
        wait = again_in or min(usual, self._tools.cadences[claim.kind].interval)
        _LOG.warning(
            "probe_stopped", version_id=claim.version_id, reason=reason, retry_in=str(wait)
        )
        self._tools.database.run(
            lambda tx: tasks.postpone(
                tx, claim, until=claim.now + wait, failed=False, stopped=reason
            )
        )

    def _commit(self, outcome: Outcome) -> Ending:
        committed = self._tools.database.run(lambda tx: self._written(tx, outcome))
        if committed is None:
            return Ending.REPEATED
        verdict = committed.judgement.verdict
        if committed.transition_id is not None:
            _LOG.info(
                "verdict_changed",
                version=outcome.reading.version.label,
                verdict=verdict.kind.value,
                blame=verdict.blame.value,
                reason=verdict.reason,
            )
        return Ending.DONE

    def _written(self, tx: Connection, outcome: Outcome) -> Committed | None:
        committed = commit(
            tx,
            outcome,
            settings=self._tools.settings.policy,
            tell=self._tools.tell,
            probe_cycle=self._tools.cadences[EvaluationKind.PERPLEXITY].interval,
        )
        if committed is not None:
            evidence = committed.judgement.action
            self._tools.react(tx, outcome.reading.version, evidence, now=committed.at)
        return committed
