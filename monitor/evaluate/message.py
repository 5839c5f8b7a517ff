"""From a judgement to what people are told, inside the evaluation's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.incident import Rule
from alerts.message import ActionLine, Change, ScoreLine, Unlike, Unseen
from detectors.types import Score
from monitor import outbox, strata
from monitor.domain import (
    IncidentId,
    Interval,
    Severity,
    Transition,
    TransitionId,
    Verdict,
    VerdictKind,
    Version,
)
from monitor.evaluate.asked import largest_group
from monitor.evaluate.unlike import DETECTOR, unlike_training
from monitor.evaluate.unseen import unseen
from monitor.outbox.lines import score_lines
from monitor.outbox.present import NEAR
from monitor.policy import ActionEvidence, Judgement
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store import adapters, departures, embeddings, evaluations, incidents
from monitor.store.evaluations import ScoreRow

if TYPE_CHECKING:
    from monitor.evaluate.commit import Outcome


class Teller(Protocol):
    """Writes incidents and outbox rows for a judgement; gives the incidents told now."""

    def __call__(
        self,
        tx: Connection,
        outcome: Outcome,
        judgement: Judgement,
        was: VerdictKind | None,
        transition_id: TransitionId | None,
    ) -> tuple[IncidentId, ...]: ...

    def broken(self, tx: Connection, version: Version, *, reason: str, now: datetime) -> None:
        """Say that a version's evaluations keep failing as a whole."""
        ...


class Preview(Protocol):
    """Says what is about to be done about a version, or is recommended."""

    def __call__(
        self, tx: Connection, version: Version, evidence: ActionEvidence, *, now: datetime
    ) -> ActionLine | None: ...


class Doubt(Protocol):
    """Says which move of a version's traffic nobody knows to have worked; None: there is none."""

    def __call__(self, tx: Connection, version: Version) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """The service's teller: what a message contains beyond the verdict itself.

    ``examples`` prompts are shown, and with them the words typical of new requests; 0: no text.
    ``change_margin`` is how far from the onset a declared change is still listed. Of versions
    that no arm of the route has had for ``out_of_service_after`` nothing new is told. What is
    known otherwise of an open incident is told once it has held for ``window``, that of the
    live detectors.
    """

    channels: Sequence[outbox.ConfiguredChannel]
    preview: Preview
    doubt: Doubt
    examples: int = 0
    base_url: str | None = None
    change_margin: timedelta = NEAR
    out_of_service_after: timedelta = timedelta(minutes=15)
    window: timedelta = timedelta(minutes=15)

    @property
    def rule(self) -> Rule:
        """How much it takes to tell people something."""
        return Rule(window=self.window)

    def __call__(
        self,
        tx: Connection,
        outcome: Outcome,
        judgement: Judgement,
        was: VerdictKind | None,
        transition_id: TransitionId | None,
    ) -> tuple[IncidentId, ...]:
        """Step the version's incidents; the outbox rows ride in this transaction."""
        version = outcome.reading.version
        departed = _bad(judgement) and self._departed(tx, version)
        waited = not departed and _waited(tx, version, judgement)
        now = outcome.facts.at
        scores = _score_lines(tx, outcome, judgement)
        fresh = (
            transition_id is not None
            or waited
            or outbox.update_due(
                tx, version, verdict=judgement.verdict, scores=scores, now=now, rule=self.rule
            )
        )
        unlike = unlike_training(tx, outcome, judgement) if fresh else None
        inputs = outbox.AlertInputs(
            adapter=adapters.fetch_by_id(tx, version.adapter_id),
            transition_id=transition_id,
            standing=judgement.standing,
            rules_changed=judgement.rules_changed,
            scores=scores,
            requests=len(outcome.reading.window),
            action=self.preview(tx, version, judgement.action, now=outcome.facts.at)
            if fresh
            else None,
            changes=self._changes(tx, outcome, judgement),
            unlike=unlike,
            new=largest_group(tx, outcome, judgement, words=self.examples > 0) if unlike else None,
            examples=self._examples(tx, outcome, judgement, unlike) if fresh else (),
            broken=_broken(judgement),
            misrouted=self.doubt(tx, version),
            unseen=_unseen(outcome, judgement),
            coverage_known=outcome.facts.covered is not None,
            own_references=_own_references(outcome),
            base_url=self.base_url,
            departed=departed,
        )
        if transition_id is None:
            return outbox.record_observation(
                tx,
                version,
                verdict=judgement.verdict,
                inputs=inputs,
                channels=self.channels,
                now=now,
                silence=outcome.silence,
                rule=self.rule,
            )
        transition = Transition(
            version=version, before=was or VerdictKind.LEARNING, after=judgement.verdict, at=now
        )
        return outbox.record_transition(
            tx,
            transition,
            inputs=inputs,
            channels=self.channels,
            now=now,
            silence=outcome.silence,
            rule=self.rule,
        )

    def broken(self, tx: Connection, version: Version, *, reason: str, now: datetime) -> None:
        """Open an ``error`` incident for evaluations that keep failing as a whole.

        Drift incidents stay as they are; the next evaluation that succeeds ends this one.
        """
        outbox.record_observation(
            tx,
            version,
            verdict=Verdict(
                kind=VerdictKind.ERROR, severity=Severity.TICKET, reason=reason, since=now
            ),
            inputs=outbox.AlertInputs(
                adapter=adapters.fetch_by_id(tx, version.adapter_id),
                changes=outbox.changes_about(
                    tx,
                    version.adapter,
                    interval=Interval(start=now, end=now),
                    margin=self.change_margin,
                    now=now,
                    is_onset=False,
                ),
                broken=reason,
                misrouted=self.doubt(tx, version),
                base_url=self.base_url,
                departed=self._departed(tx, version),
            ),
            channels=self.channels,
            now=now,
        )

    def _departed(self, tx: Connection, version: Version) -> bool:
        """As of now: what was claimed before its incident ended must not reopen it."""
        now = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        after = self.out_of_service_after
        return bool(departures.departed(tx, [version.id], now=now, after=after))

    def _changes(
        self, tx: Connection, outcome: Outcome, judgement: Judgement
    ) -> tuple[Change, ...]:
        """Declared changes about the onset; of silence and failures, about the window."""
        onset = judgement.verdict.onset
        failing = judgement.verdict.kind is VerdictKind.ERROR or _broken(judgement) is not None
        if onset is None and outcome.silence is None and not failing:
            return ()
        return outbox.changes_about(
            tx,
            outcome.reading.version.adapter,
            interval=onset or _unheard(outcome),
            margin=self.change_margin,
            now=outcome.facts.at,
            is_onset=onset is not None,
        )

    def _examples(
        self, tx: Connection, outcome: Outcome, judgement: Judgement, unlike: Unlike | None
    ) -> tuple[str, ...]:
        """Least similar prompts since the onset; none unless the operator stores text."""
        calibrated = outcome.reading.calibrated
        of_inputs = unlike is not None or DETECTOR in judgement.verdict.detectors
        if not self.examples or not of_inputs or calibrated is None:
            return ()
        onset = judgement.verdict.onset
        found = embeddings.least_similar(
            tx,
            version_id=outcome.reading.version.id,
            adapter_id=outcome.reading.version.adapter_id,
            start=onset.start if onset else outcome.window.start,
            end=outcome.window.end,
            reference_id=calibrated.reference.id,
            limit=self.examples,
        )
        return tuple(similar.prompt for similar in found if similar.prompt)


def _bad(judgement: Judgement) -> bool:
    told = judgement.verdict.severity is not Severity.NONE or judgement.blindness is not None
    return told or _broken(judgement) is not None


def _own_references(outcome: Outcome) -> tuple[str, ...]:
    calibrated = outcome.reading.calibrated
    if calibrated is None:
        return ()
    return tuple(strata.words(one.strata[0]) for one in calibrated.beside)


def _unseen(outcome: Outcome, judgement: Judgement) -> Unseen | None:
    if judgement.blindness is None:
        return None
    return unseen(
        judgement.blindness,
        judgement.memory.seen.coverage(),
        outcome.reading.version,
        now=outcome.facts.at,
        well=judgement.verdict.severity is Severity.NONE,
    )


def _waited(tx: Connection, version: Version, judgement: Judgement) -> bool:
    """Whether a page that waited for others to be looked at is about to go out."""
    if judgement.verdict.severity is not Severity.PAGE or judgement.standing.shared:
        return False
    return not judgement.standing.waits and not incidents.any_open(tx, version)


def _unheard(outcome: Outcome) -> Interval:
    """The window, from the last record on where that is longer ago."""
    last = outcome.reading.traffic.last_at
    start = min(last, outcome.window.start) if last else outcome.window.start
    return Interval(start=start, end=outcome.window.end)


def _broken(judgement: Judgement) -> str | None:
    """Name the detectors that raised too often in a row and are asked no more."""
    failures = judgement.memory.failures
    names = [name for name, times in failures.items() if times >= QUARANTINE_AFTER]
    if not names:
        return None
    return f"{', '.join(names)}: {QUARANTINE_AFTER} errors in a row; off until a new reference"


def _score_lines(tx: Connection, outcome: Outcome, judgement: Judgement) -> tuple[ScoreLine, ...]:
    """Scores of the detectors that crossed, the strongest evidence first.

    Hard signals are judged between the others' windows, and a page that has waited for its
    probe may come of such a run: the others then show their newest stored score.
    """
    scores: dict[str, Score | ScoreRow] = {
        f.detector: f.score for f in outcome.findings if f.score is not None
    }
    scores |= outcome.scores
    crossed = judgement.verdict.detectors
    if not set(crossed) <= set(scores):
        scores = _stored(tx, outcome) | scores
    return score_lines(scores, crossed, judgement.memory.crossings)


def _stored(tx: Connection, outcome: Outcome) -> dict[str, Score | ScoreRow]:
    version = outcome.reading.version
    rows = evaluations.latest_scores_of(tx, adapter_id=version.adapter_id)
    return {row.detector: row for row in rows if row.version_id == version.id}
